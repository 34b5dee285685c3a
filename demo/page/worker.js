// worker.js : runs the core in slices, so that the page stays responsive, and shows its state whenever the page asks
//
// To the worker:   {kind: "start", frames, pixels}   reset; bytes of frames that enter back to back
//                  {kind: "run", rate}               cycles a second, Infinity: as many as there are; until "pause"
//                  {kind: "pause"}
//                  {kind: "step", cycles, watched}   up to so many cycles, or to a beat of stream `watched`
//                  {kind: "show"}                    answer with the state once, as soon as there is a new one
// From the worker: {kind: "ready"}, {kind: "state", ...}, {kind: "error", text}
"use strict";

importScripts("core.js");

const SLICE_MS = 12;
const SLICE_CYCLES = 256;
const MEASURE_MS = 500;
const STREAM_WORDS = 4;
const MEMORY_FOLDER = "/mem";

let core = null;
let network = null;
let running = false;
let rate = 0;
let owed = 0; // cycles that the rate allows and that have not been simulated
let last = 0; // when `owed` was last brought up to date
let frames = 0;
let wanted = false;
let changed = false;
let measured = { since: 0, cycles: 0, speed: 0 };

function words(address, count) {
    return core.HEAPU32.slice(address >> 2, (address >> 2) + count);
}

function values(address, count) {
    return core.HEAP32.slice(address >> 2, (address >> 2) + count);
}

function state() {
    const [cycles, pixels, resultWords, entered] = words(core._core_state(), 4);
    const a_frame = network.classes.length + 1;
    const results = Math.floor(resultWords / a_frame);
    const maps = network.stages.map((stage, index) =>
        values(core._core_map(index), stage.height * stage.width * stage.channels));
    return {
        kind: "state",
        cycles, pixels, entered, results, running, maps,
        streams: words(core._core_streams(), STREAM_WORDS * network.stages.length),
        scores: values(core._core_results(), results * a_frame),
        left: words(core._core_left(), results),
        ended: results === frames,
        speed: measured.speed,
    };
}

function show() {
    if (!wanted || !changed) return;
    wanted = changed = false;
    const message = state();
    postMessage(message, message.maps.map((map) => map.buffer));
}

function simulate(cycles, watched) {
    const done = core._core_run(cycles, watched);
    measured.cycles += done;
    changed = changed || done > 0;
    return done;
}

// Over half a second, or over a run that took less.
function measure(now) {
    if (running ? now - measured.since < MEASURE_MS : measured.speed > 0) return;
    measured = { since: now, cycles: 0, speed: (1000 * measured.cycles) / (now - measured.since) };
}

function slice() {
    if (!running) return;
    const begun = performance.now();
    owed = rate === Infinity ? Infinity : Math.min(owed + (rate * (begun - last)) / 1000, rate / 4 + 1);
    last = begun;
    while (owed >= 1 && performance.now() - begun < SLICE_MS) {
        const asked = Math.min(SLICE_CYCLES, Math.floor(owed));
        const done = simulate(asked, -1);
        owed -= done;
        if (done < asked) {
            running = false;
            changed = true;
            break;
        }
    }
    measure(performance.now());
    show();
    if (running) setTimeout(slice, owed >= 1 ? 0 : SLICE_MS);
}

function start(message) {
    running = false;
    frames = message.frames.length / (3 * message.pixels);
    const address = core._core_reset(frames, message.pixels);
    core.HEAPU8.set(message.frames, address);
    changed = true;
}

function run(message) {
    rate = message.rate;
    owed = 0;
    last = performance.now();
    changed = true;
    if (running) return;
    running = true;
    measured = { since: last, cycles: 0, speed: 0 };
    setTimeout(slice, 0);
}

const actions = {
    start,
    run,
    pause: () => { running = false; changed = true; },
    step: (message) => { running = false; changed = true; simulate(message.cycles, message.watched); },
    show: () => { wanted = true; },
};

function guarded(action) {
    try {
        action();
    } catch (error) {
        running = false;
        postMessage({ kind: "error", text: String(error) });
    }
}

async function fetched(name) {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
    return answer.json();
}

onmessage = (event) => guarded(() => {
    actions[event.data.kind](event.data);
    show();
});

(async () => {
    try {
        const [description, memories, module] =
            await Promise.all([fetched("network.json"), fetched("memories.json"), abbnnCore()]);
        module.FS.mkdir(MEMORY_FOLDER);
        for (const [name, text] of Object.entries(memories)) module.FS.writeFile(`${MEMORY_FOLDER}/${name}`, text);
        network = description;
        core = module;
        postMessage({ kind: "ready" });
    } catch (error) {
        postMessage({ kind: "error", text: `the core cannot be loaded: ${error.message ?? error}` });
    }
})();
