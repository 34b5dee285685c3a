// maps.js : the stages' cards: what each has given, one tile a channel, and whether it moves

const GAP = 1;
const STREAM_WORDS = 4; // of core.cpp's Stream: beats, moved, waiting, stalls
const STEPS = 255;
const ASPECT = 1.5; // of a sheet of tiles

const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
};

function rgb(text) {
    const number = parseInt(text.trim().slice(1), 16);
    return [number >> 16, (number >> 8) & 255, number & 255];
}

// Colours of -STEPS to STEPS as 32-bit pixels, from the style sheet's variables.
function palette() {
    const style = getComputedStyle(document.documentElement);
    const [minus, zero, plus] = ["--minus", "--zero", "--plus"].map((name) => rgb(style.getPropertyValue(name)));
    const colours = new Uint32Array(2 * STEPS + 1);
    for (let step = -STEPS; step <= STEPS; step++) {
        const share = (Math.abs(step) / STEPS) ** 0.7; // small values would hardly be seen
        const end = step < 0 ? minus : plus;
        const [red, green, blue] = zero.map((from, i) => Math.round(from + (end[i] - from) * share));
        colours[step + STEPS] = (255 << 24) | (blue << 16) | (green << 8) | red;
    }
    return colours;
}

class Card {
    constructor(stage, index, probed) {
        this.stage = stage;
        this.index = index;
        // The head's last value is the class, no score.
        this.tiles = stage.kind === "head" ? stage.channels - 1 : stage.channels;
        this.columns = stage.kind === "head" ? this.tiles : Math.ceil(Math.sqrt(ASPECT * this.tiles));
        this.rows = Math.ceil(this.tiles / this.columns);
        this.beats = (stage.height * stage.width * stage.channels) / stage.lanes;
        this.before = { beats: 0, stalls: 0, cycles: 0 };
        this.values = null;
        this.place = { x: 0, y: 0 };

        const shape = stage.kind === "head"
            ? `${this.tiles} scores, class`
            : `${stage.channels} × ${stage.height}×${stage.width}`;
        this.lamp = element("span", { className: "lamp", title: "green: a value moves; amber: one waits" });
        this.fill = element("div", { className: "fill" });
        this.count = element("span");
        this.activity = element("span");
        this.canvas = element("canvas", {
            width: this.columns * (stage.width + GAP) - GAP, height: this.rows * (stage.height + GAP) - GAP, tabIndex: 0,
        });
        this.canvas.setAttribute("role", "img");
        this.canvas.setAttribute("aria-label", `${stage.name}: ${this.tiles} channels of ${stage.height} rows and ${stage.width} columns`);
        this.canvas.setAttribute("aria-describedby", "probe");
        this.card = element("div", { className: "stage" },
            element("h3", {}, stage.name, element("span", { className: "shape", textContent: shape }), this.lamp),
            element("div", { className: "track" }, this.fill),
            this.canvas,
            element("div", { className: "note" }, this.count, this.activity));
        this.card.dataset.stage = stage.name;
        this.context = this.canvas.getContext("2d");
        this.image = this.context.createImageData(this.canvas.width, this.canvas.height);

        const point = (event) => {
            const box = this.canvas.getBoundingClientRect();
            this.place = {
                x: Math.floor(((event.clientX - box.left) / box.width) * this.canvas.width),
                y: Math.floor(((event.clientY - box.top) / box.height) * this.canvas.height),
            };
            probed(this);
        };
        this.canvas.addEventListener("pointermove", point);
        this.canvas.addEventListener("pointerdown", point);
        this.canvas.addEventListener("focus", () => probed(this));
        this.canvas.addEventListener("keydown", (event) => {
            const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
            if (!step) return;
            event.preventDefault();
            const next = { x: this.place.x, y: this.place.y };
            do {
                next.x += step[0];
                next.y += step[1];
            } while (next.x % (this.stage.width + GAP) === this.stage.width || next.y % (this.stage.height + GAP) === this.stage.height);
            if (next.x < 0 || next.y < 0 || next.x >= this.canvas.width || next.y >= this.canvas.height) return;
            this.place = next;
            probed(this);
        });
    }

    // What the pointer or the arrow keys are at.
    said() {
        const { stage } = this;
        const column = Math.floor(this.place.x / (stage.width + GAP)), row = Math.floor(this.place.y / (stage.height + GAP));
        const channel = row * this.columns + column;
        const x = this.place.x % (stage.width + GAP), y = this.place.y % (stage.height + GAP);
        if (channel >= this.tiles || x >= stage.width || y >= stage.height) return "";
        const index = (y * stage.width + x) * stage.channels + channel;
        const there = this.values && index < this.arrived;
        const value = there ? this.values[index].toLocaleString("en") : "not there yet";
        return stage.kind === "head"
            ? `${stage.name}, score ${channel}: ${value}`
            : `${stage.name}, channel ${channel}, row ${y}, column ${x}: ${value}`;
    }

    draw(state, colours) {
        const { stage } = this;
        const [beats, moved, waiting, stalls] = state.streams.subarray(STREAM_WORDS * this.index, STREAM_WORDS * (this.index + 1));
        this.values = state.maps[this.index];
        this.arrived = beats * stage.lanes;
        const done = beats % this.beats || (beats ? this.beats : 0);
        this.fill.style.width = `${(100 * done) / this.beats}%`;
        this.count.textContent = `${done.toLocaleString("en")} of ${this.beats.toLocaleString("en")} beats`;
        this.lamp.className = `lamp ${moved ? "moves" : waiting ? "waits" : ""}`;
        const { before } = this;
        const cycles = state.cycles - before.cycles;
        if (cycles < 0) {
            this.activity.textContent = "";
        } else if (cycles > 1) {
            const share = (now, then) => Math.round((100 * (now - then)) / cycles);
            this.activity.textContent = `moves ${share(beats, before.beats)}%, waits ${share(stalls, before.stalls)}%`;
            if (beats > before.beats && state.running) this.lamp.className = "lamp moves";
        } else if (cycles === 1) {
            this.activity.textContent = moved ? "moves" : waiting ? "waits" : "idle";
        }
        this.before = { beats, stalls, cycles: state.cycles };
        this.paint(colours);
    }

    paint(colours) {
        if (!this.values) return;
        const { stage, values, arrived } = this;
        const pixels = new Uint32Array(this.image.data.buffer);
        const pitch = this.canvas.width, strength = STEPS / stage.brightest;
        pixels.fill(0);
        for (let y = 0, index = 0; y < stage.height; y++) {
            for (let x = 0; x < stage.width; x++, index += stage.channels) {
                for (let channel = 0; channel < this.tiles && index + channel < arrived; channel++) {
                    const step = Math.max(-STEPS, Math.min(STEPS, Math.round(values[index + channel] * strength)));
                    const left = (channel % this.columns) * (stage.width + GAP) + x;
                    const top = Math.floor(channel / this.columns) * (stage.height + GAP) + y;
                    pixels[top * pitch + left] = colours[step + STEPS];
                }
            }
        }
        this.context.putImageData(this.image, 0, 0);
    }
}

export class Maps {
    // `probe` is the element that tells the value under the pointer.
    constructor(stages, parent, probe) {
        this.colours = palette();
        this.probed = null;
        this.probe = probe;
        this.cards = stages.map((stage, index) => new Card(stage, index, (card) => this.tell(card)));
        parent.append(...this.cards.map((card) => card.card));
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
            this.colours = palette();
            this.cards.forEach((card) => card.paint(this.colours));
        });
    }

    tell(card) {
        this.probed = card;
        this.probe.textContent = card.said() || this.probe.textContent;
    }

    draw(state) {
        this.cards.forEach((card) => card.draw(state, this.colours));
        if (this.probed) this.tell(this.probed);
    }
}
