// packet.js : packets of the byte protocol (docs/protocol.md of the project): encoding and decoding

export const Type = {
    PING: 0x01, READ: 0x02, IMAGE: 0x04, IDENTITY: 0x81, RESULT: 0x84, CREDIT: 0xfe, NACK: 0xff,
};
export const ANSWER = 0x80;
export const OVERHEAD = 13; // bytes of a packet without its payload
export const VERSION = 1;
export const REASONS = [
    "no reason", "checksum", "length", "type", "gap", "line", "lost", "refused: no such register", "not ready: the core has no tables",
];
export const DAMAGE = new Set([1, 4, 5, 6]); // reasons that the line is to blame for

const SYNC = [0xab, 0x4e];
const HEADER = 9;
const LONGEST = 1 << 16; // of an answer's payload; a header that promises more is none

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
    for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
    return byte;
});

// CRC-32 as zlib's; `before` is that of the bytes in front.
export function crc32(bytes, before = 0) {
    let crc = ~before;
    for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
    return ~crc >>> 0;
}

export function little(value, bytes) {
    return Array.from({ length: bytes }, (_, index) => (value >>> (8 * index)) & 0xff);
}

export function number(bytes) {
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}

export function encode(type, tag, payload = []) {
    const head = [type, tag, ...little(payload.length, 3)];
    const check = crc32(head);
    const packet = new Uint8Array(OVERHEAD + payload.length);
    packet.set([...SYNC, ...head, ...little(check, 2)]);
    packet.set(payload, HEADER);
    packet.set(little(crc32(payload, check), 4), HEADER + payload.length);
    return packet;
}

// Finds packets in a stream of bytes; what is none is skipped byte by byte.
export class Decoder {
    #bytes = [];

    // The packets {type, tag, payload} that are complete with these bytes.
    feed(data) {
        this.#bytes.push(...data);
        const packets = [];
        for (;;) {
            const found = this.#next();
            if (found === "wait") return packets;
            if (found !== "skip") packets.push(found);
        }
    }

    // For a line that has been silent: a packet that has begun will not end.
    flush() {
        this.#bytes = [];
    }

    #next() {
        const bytes = this.#bytes;
        const start = bytes.findIndex((byte, index) => byte === SYNC[0] && (bytes[index + 1] ?? SYNC[1]) === SYNC[1]);
        bytes.splice(0, start < 0 ? bytes.length : start);
        if (bytes.length < HEADER) return "wait";
        const head = bytes.slice(2, 7), check = crc32(head), length = number(head.slice(2));
        if (number(bytes.slice(7, HEADER)) !== (check & 0xffff) || length > LONGEST) return this.#skip();
        if (bytes.length < OVERHEAD + length) return "wait";
        const payload = bytes.slice(HEADER, HEADER + length);
        if (number(bytes.slice(HEADER + length, OVERHEAD + length)) !== crc32(payload, check)) return this.#skip();
        bytes.splice(0, OVERHEAD + length);
        return { type: head[0], tag: head[1], payload: Uint8Array.from(payload) };
    }

    #skip() {
        this.#bytes.shift();
        return "skip";
    }
}
