// device.js : a board at the other end of a serial port of Web Serial: reliable requests over an unreliable line

import { ANSWER, DAMAGE, Decoder, OVERHEAD, REASONS, Type, VERSION, encode, little, number } from "./packet.js";

const TIMEOUT_MS = 2000; // without an answer
const QUIET_MS = 400; // longer than the device keeps a packet open
const NEVER_SILENT_MS = 6000;
const TRIES = 5;
const MODULUS = 2 ** 32; // of the count of consumed bytes

// One request is under way at a time.
export class Link {
    #decoder = new Decoder();
    #inbox = [];
    #wake = () => {};
    #tag = 0;
    #window = 0;
    #sent = 0;
    #taken = 0; // of the bytes sent, those that the device has consumed
    #base = 0; // its count at the last ping
    #reader = null;
    #closed = false;
    #fault = null;

    constructor(port) {
        this.port = port;
        this.repeated = 0;
        this.writer = port.writable.getWriter();
        this.listening = this.#listen();
    }

    async close() {
        this.#closed = true;
        await this.#reader?.cancel().catch(() => {});
        await this.listening;
        this.writer.releaseLock();
        await this.port.close().catch(() => {});
    }

    // ---- receiving

    async #listen() {
        // A line error ends the stream, and the port has a new one then; one that has none is gone.
        while (this.port.readable && !this.#closed) {
            this.#reader = this.port.readable.getReader();
            try {
                for (;;) {
                    const { value, done } = await this.#reader.read();
                    if (done) break;
                    this.#decoder.feed(value).forEach((packet) => this.#enter(packet));
                    this.#wake();
                }
            } catch (error) {
                if (error.name === "NetworkError") this.#closed = true;
            } finally {
                this.#reader.releaseLock();
            }
        }
        this.#fault = new Error("the port is closed");
        this.#wake();
    }

    #enter(packet) {
        if (packet.type === Type.CREDIT && packet.payload.length === 4) {
            const taken = (number(packet.payload) - this.#base + MODULUS) % MODULUS;
            // A credit from before the last ping seems to be far ahead.
            if (taken <= this.#sent) this.#taken = Math.max(this.#taken, taken);
        } else if (packet.tag === this.#tag) {
            this.#inbox.push(packet);
        }
    }

    // Whether bytes have come within that time.
    #arrival(milliseconds) {
        if (this.#fault) throw this.#fault;
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => { this.#wake = () => {}; resolve(false); }, milliseconds);
            this.#wake = () => {
                this.#wake = () => {};
                clearTimeout(timer);
                if (this.#fault) reject(this.#fault);
                else resolve(true);
            };
        });
    }

    // The answer to the last request, null if none comes; the time begins anew while the device consumes.
    async #answer() {
        let taken = this.#taken, deadline = performance.now() + TIMEOUT_MS;
        while (!this.#inbox.length) {
            const left = deadline - performance.now();
            if (left <= 0 || !(await this.#arrival(left))) return null;
            if (this.#taken > taken) [taken, deadline] = [this.#taken, performance.now() + TIMEOUT_MS];
        }
        return this.#inbox.shift();
    }

    // ---- sending

    // As room for it appears; whether all went.
    async #send(type, payload) {
        this.#tag = (this.#tag + 1) % 256;
        this.#inbox = [];
        const data = encode(type, this.#tag, payload);
        for (let begin = 0; begin < data.length;) {
            const room = this.#window - (this.#sent - this.#taken);
            // A crumb a credit would be slow.
            if (room < Math.min(data.length - begin, Math.max(1, this.#window >> 2))) {
                const before = this.#taken, deadline = performance.now() + TIMEOUT_MS;
                while (this.#taken === before) {
                    const left = deadline - performance.now();
                    if (left <= 0 || !(await this.#arrival(left))) return false;
                }
                continue;
            }
            const piece = data.slice(begin, begin + room);
            this.#sent += piece.length;
            begin += piece.length;
            await this.writer.write(piece);
        }
        return true;
    }

    // The payload of the answer. Repeats what was damaged or lost; throws when that does not help.
    async request(type, what, payload = []) {
        for (let attempt = 0; attempt < TRIES; attempt++) {
            if (attempt) this.repeated++;
            const answer = (await this.#send(type, payload)) ? await this.#answer() : null;
            if (answer === null) {
                await this.synchronise();
            } else if (answer.type === Type.NACK) {
                const [reason = 0] = answer.payload;
                if (!DAMAGE.has(reason)) throw new Error(`the device refuses ${what}: ${REASONS[reason] ?? `reason ${reason}`}`);
                this.#taken = this.#sent;
            } else if (answer.type === type + ANSWER) {
                this.#taken = this.#sent;
                return answer.payload;
            }
        }
        throw new Error(`no ${what} came through in ${TRIES} tries`);
    }

    // Waits for silence, then asks for the state of the device's buffer.
    async synchronise() {
        for (let attempt = 0; attempt < TRIES; attempt++) {
            const begun = performance.now();
            while (await this.#arrival(QUIET_MS)) {
                if (performance.now() - begun > NEVER_SILENT_MS) {
                    throw new Error("the line is never silent: another device's, or another speed's");
                }
            }
            this.#decoder.flush();
            [this.#tag, this.#inbox] = [(this.#tag + 1) % 256, []];
            await this.writer.write(encode(Type.PING, this.#tag));
            const answer = await this.#answer();
            if (answer?.type !== Type.IDENTITY || answer.payload.length !== 16) continue;
            const [version] = answer.payload;
            if (version !== VERSION) throw new Error(`the device speaks version ${version} of the protocol, this page ${VERSION}`);
            this.#window = number(answer.payload.slice(4, 8));
            if (this.#window <= OVERHEAD) throw new Error(`the device has room for ${this.#window} bytes only`);
            this.#base = number(answer.payload.slice(8, 12));
            this.#sent = this.#taken = 0;
            return;
        }
        throw new Error(`the device does not answer (${TRIES} pings)`);
    }
}

export class Device {
    // `known` is network.json's "board": addresses of registers, and what they must say.
    constructor(link, known) {
        this.link = link;
        this.known = known;
    }

    async read(name) {
        const answer = await this.link.request(Type.READ, `read of ${name}`, little(this.known.registers[name], 2));
        if (answer.length !== 4) throw new Error(`${name}: a value of ${answer.length} bytes`);
        return number(answer);
    }

    async connect() {
        await this.link.synchronise();
        const { identity, major, ready } = this.known;
        const found = await this.read("ID");
        if (found !== identity) throw new Error(`the device says that it is ${found.toString(16)}, not ${identity.toString(16)}`);
        const version = (await this.read("VERSION")) >>> 16;
        if (version !== major) throw new Error(`the device has version ${version} of the registers, this page ${major}`);
        const image = await this.read("IMAGE"), shape = await this.read("SHAPE");
        [this.height, this.width] = [image >>> 16, image & 0xffff];
        [this.stages, this.classes] = [shape >>> 16, shape & 0xffff];
        const halves = [await this.read("NETWORK_HI"), await this.read("NETWORK_LO")];
        this.network = halves.map((half) => half.toString(16).padStart(8, "0")).join("");
        if (!((await this.read("STATUS")) & ready)) throw new Error("the core has no tables yet: abbnn host load");
    }

    // {found, scores} of an image's bytes.
    async classify(data) {
        const answer = await this.link.request(Type.IMAGE, "image", data);
        if (answer.length !== 4 * (this.classes + 1)) throw new Error(`a result of ${answer.length} bytes for ${this.classes} classes`);
        const view = new DataView(answer.buffer, answer.byteOffset);
        const scores = Array.from({ length: this.classes }, (_, index) => view.getInt32(4 * index, true));
        return { found: view.getInt32(4 * this.classes, true), scores };
    }
}
