// app.js : the page's controls, and the worker in which the core runs

import { Board } from "./board.js";
import { Maps } from "./maps.js";
import { Picture } from "./picture.js";
import { bars, table, verdict } from "./results.js";

const at = (id) => document.getElementById(id);
const text = (number) => Math.round(number).toLocaleString("en");
const NEVER = -1; // no stream is watched
const PATIENCE = 10; // latencies within which any stage gives a beat

function failed(message) {
    at("error").textContent = message;
    at("error").hidden = false;
}

async function fetched(name) {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
    return answer;
}

class Simulation {
    constructor(network, maps) {
        this.network = network;
        this.maps = maps;
        this.pixels = network.height * network.width;
        this.ready = false;
        this.live = false; // another image runs at once
        this.many = false; // all shipped images follow each other
        this.state = null;
        this.worker = new Worker("worker.js");
        this.worker.onmessage = ({ data }) => this.receive(data);
        this.worker.onerror = (event) => failed(`the core's worker: ${event.message}`);
        this.controls();
    }

    controls() {
        const { stages } = this.network;
        at("watched").append(new Option("any stage", stages.length), ...stages.map(({ name }, index) => new Option(name, index)));
        at("run").onclick = () => (this.state.running ? this.pause() : this.run());
        at("cycle").onclick = () => this.step(1, NEVER);
        at("beat").onclick = () => this.step(PATIENCE * this.network.latency, Number(at("watched").value));
        at("reset").onclick = () => { this.pause(); this.start(); };
        at("all").onclick = () => { this.many = true; this.start(); this.run(); };
        at("speed").oninput = () => {
            at("speed-text").textContent = this.rate === Infinity ? "as fast as it goes" : `${text(this.rate)} cycles/s`;
            if (this.state?.running) this.run();
        };
        at("speed").oninput();
    }

    get rate() {
        const { value, max } = at("speed");
        return value === max ? Infinity : 10 ** Number(value);
    }

    // ---- to the worker

    send(message) {
        this.worker.postMessage(message);
    }

    start() {
        if (!this.ready) return;
        const frames = this.many ? this.picture.images : this.picture.data;
        this.told = 0;
        at("scores").replaceChildren();
        at("result").className = "";
        at("result").textContent = "none yet";
        this.send({ kind: "start", frames, pixels: this.pixels });
    }

    run() {
        this.live = true;
        if (this.state.ended) this.start();
        this.send({ kind: "run", rate: this.rate });
    }

    pause() {
        this.live = false;
        this.send({ kind: "pause" });
    }

    step(cycles, watched) {
        this.live = false;
        this.send({ kind: "step", cycles, watched });
    }

    changed() {
        this.many = false;
        this.start();
        if (this.live) this.run();
    }

    // ---- from the worker

    receive(message) {
        if (message.kind === "error") {
            failed(message.text);
        } else if (message.kind === "ready") {
            this.ready = true;
            this.start();
            this.send({ kind: "show" });
        } else {
            this.state = message;
            requestAnimationFrame(() => {
                this.draw(message);
                this.send({ kind: "show" });
            });
        }
    }

    draw(state) {
        const { network, picture, pixels } = this;
        at("run").textContent = state.running ? "Pause" : "Run";
        for (const id of ["run", "reset", "all"]) at(id).disabled = false;
        for (const id of ["cycle", "beat"]) at(id).disabled = state.ended;
        at("cycles").textContent = state.pixels ? text(state.cycles - 1 - state.entered) : "–";
        const total = this.many ? picture.images.length / picture.size : 1;
        const frame = Math.min(total - 1, Math.max(0, Math.floor((state.pixels - 1) / pixels)));
        const within = state.pixels - frame * pixels;
        at("pixels").textContent = `${text(within)} of ${text(pixels)}${this.many ? `, image ${frame}` : ""}`;
        at("latency").textContent = state.results ? `${text(state.left[0] - state.entered)} cycles` : "–";
        const last = state.results - 1;
        at("interval").textContent = last > 0 ? text(state.left[last] - state.left[last - 1]) : "–";
        at("rate").textContent = state.speed ? text(state.speed) : "–";
        picture.mark = within > 0 && within < pixels ? within - 1 : null;
        picture.draw(this.many ? picture.shipped(frame) : picture.data);
        this.maps.draw(state);
        if (state.results !== this.told) this.tell(state);
        document.body.dataset.state = state.running ? "running" : state.ended ? "ended" : "paused";
    }

    tell(state) {
        this.told = state.results;
        if (state.results === 0) return;
        const { network } = this;
        const words = network.classes.length + 1;
        const results = Array.from({ length: state.results }, (_, image) => {
            const one = [...state.scores.subarray(image * words, (image + 1) * words)];
            return { image, found: one.pop(), scores: one };
        });
        if (this.many) {
            const { equal, right } = table(at("scores"), network, results);
            const labelled = right === null ? "" : `, ${right} are what their labels say`;
            at("result").textContent = `${results.length} images: ${equal} equal the golden model's${labelled}`;
            at("result").className = equal === results.length ? "good" : "bad";
        } else {
            const [{ found, scores }] = results;
            [at("result").textContent, at("result").className] = verdict(network, this.picture, found, scores);
            bars(at("scores"), network.classes, scores);
        }
    }
}

function tabs() {
    const all = [...document.querySelectorAll("[role=tab]")];
    const select = (tab) => {
        for (const one of all) {
            one.setAttribute("aria-selected", String(one === tab));
            one.tabIndex = one === tab ? 0 : -1;
            at(one.getAttribute("aria-controls")).hidden = one !== tab;
        }
        tab.focus();
    };
    all.forEach((tab, index) => {
        tab.onclick = () => select(tab);
        tab.onkeydown = (event) => {
            const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
            if (step) select(all[(index + step + all.length) % all.length]);
        };
    });
}

async function begin() {
    tabs();
    const network = await (await fetched("network.json")).json();
    const images = new Uint8Array(await (await fetched("images.bin")).arrayBuffer());
    at("network-name").textContent = `${network.name}, ${network.sha256.slice(0, 16)}`;
    const simulation = new Simulation(network, new Maps(network.stages, at("stages"), at("probe")));
    const parts = {
        canvas: at("picture"), name: at("input-name"), shipped: at("shipped"), colour: at("colour"), brush: at("brush"),
        blank: at("blank"), file: at("file"), drop: at("input"), failed,
    };
    simulation.picture = new Picture(network, images, parts, () => simulation.changed());
    new Board(network, simulation.picture, at);
}

begin().catch((error) => failed(error.message));
