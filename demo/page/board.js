// board.js : the tab that sends images to a board

import { Device, Link } from "./device.js";
import { bars, table, verdict } from "./results.js";

export class Board {
    // `at` finds the page's elements by their names.
    constructor(network, picture, at) {
        this.network = network;
        this.picture = picture;
        this.at = at;
        this.device = null;
        if (!navigator.serial) {
            at("connect").disabled = true;
            at("board-status").textContent =
                "This browser has no Web Serial. Chromium, Chrome, Edge and Opera on a desk have it, for pages over https or on localhost.";
            return;
        }
        at("connect").onclick = () => this.guarded(() => (this.device ? this.disconnect() : this.connect()));
        at("classify").onclick = () => this.guarded(() => this.one());
        at("classify-all").onclick = () => this.guarded(() => this.all());
    }

    // One action at a time; what fails is said, and the port closed.
    async guarded(action) {
        const buttons = ["connect", "classify", "classify-all"].map((id) => this.at(id));
        buttons.forEach((button) => { button.disabled = true; });
        try {
            await action();
        } catch (error) {
            // The user has closed the list of ports.
            if (error.name !== "NotFoundError") {
                await this.disconnect();
                this.say(error.message, "bad");
            }
        }
        buttons.forEach((button) => { button.disabled = button !== this.at("connect") && !this.device; });
        this.at("connect").textContent = this.device ? "Disconnect" : "Connect…";
    }

    say(text, kind = "") {
        this.at("board-status").textContent = text;
        this.at("board-status").className = kind;
    }

    async connect() {
        const port = await navigator.serial.requestPort();
        await port.open({ baudRate: Number(this.at("baud").value), bufferSize: 1 << 16 });
        this.link = new Link(port);
        this.say("asking what it is…");
        const device = new Device(this.link, this.network.board);
        await device.connect();
        const { height, width, classes } = device, wanted = this.network;
        if (height !== wanted.height || width !== wanted.width || classes !== wanted.classes.length) {
            throw new Error(
                `the board takes images of ${height}x${width} and has ${classes} classes; this page has ` +
                `${wanted.height}x${wanted.width} and ${wanted.classes.length}`);
        }
        this.device = device;
        this.say("connected", "good");
        this.facts();
    }

    facts() {
        const { device, network, link } = this;
        const same = network.sha256.startsWith(device.network);
        const rows = {
            network: `${device.network}${same ? "" : ", another than this page's"}`,
            image: `${device.height}x${device.width}`, stages: device.stages, "requests repeated": link.repeated,
        };
        this.at("board-facts").replaceChildren(...Object.entries(rows).map(([name, value]) => {
            const row = document.createElement("div");
            row.append(Object.assign(document.createElement("dt"), { textContent: name }),
                Object.assign(document.createElement("dd"), { textContent: value }));
            return row;
        }));
    }

    async disconnect() {
        await this.link?.close();
        this.link = this.device = null;
        this.say("not connected");
        this.at("board-facts").replaceChildren();
    }

    show(text, kind) {
        this.at("board-result").textContent = text;
        this.at("board-result").className = kind;
    }

    async one() {
        const begun = performance.now();
        const { found, scores } = await this.device.classify(this.picture.data);
        const [text, kind] = verdict(this.network, this.picture, found, scores);
        this.show(`${text}, after ${(performance.now() - begun).toFixed(0)} ms`, kind);
        bars(this.at("board-scores"), this.network.classes, scores);
        this.facts();
    }

    async all() {
        const begun = performance.now(), results = [];
        const images = this.network.golden.length;
        for (let image = 0; image < images; image++) {
            results.push({ image, ...(await this.device.classify(this.picture.shipped(image))) });
            this.show(`${image + 1} of ${images}`, "");
        }
        const seconds = (performance.now() - begun) / 1000;
        const { equal, right } = table(this.at("board-scores"), this.network, results);
        const labelled = right === null ? "" : `, ${right} are what their labels say`;
        this.show(`${images} images in ${seconds.toFixed(1)} s: ${equal} equal the golden model's${labelled}`, equal === images ? "good" : "bad");
        this.facts();
    }
}
