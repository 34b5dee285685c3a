// picture.js : the image that enters: one of the shipped ones, a picture from a file, or painted by hand

const SCALE = 8; // of the canvas, so that the mark around a pixel is thin
const BYTES = 3;

export class Picture {
    // `changed` is called with no argument whenever there is another image.
    constructor(network, images, parts, changed) {
        this.height = network.height;
        this.width = network.width;
        this.size = BYTES * this.height * this.width;
        this.images = images;
        this.parts = parts;
        this.changed = changed;
        this.names = network.labels
            ? network.labels.map((label, index) => `${index}: ${network.classes[label]}`)
            : Array.from({ length: images.length / this.size }, (_, index) => `${index}`);
        this.small = document.createElement("canvas");
        this.small.width = this.width;
        this.small.height = this.height;
        this.data = new Uint8Array(this.size);
        this.mark = null; // the pixel that enters
        this.cursor = null; // of the arrow keys
        parts.canvas.width = SCALE * this.width;
        parts.canvas.height = SCALE * this.height;
        this.thumbnails();
        this.painting();
        this.files();
        this.choose(0);
    }

    shipped(index) {
        return this.images.subarray(index * this.size, (index + 1) * this.size);
    }

    set(data, name, index = null) {
        this.data = data.slice();
        this.name = name;
        this.index = index; // of a shipped image
        this.mark = null;
        this.parts.name.textContent = name;
        this.boxes.forEach((box, at) => {
            box.setAttribute("aria-checked", String(at === index));
            box.tabIndex = at === (index ?? 0) ? 0 : -1;
        });
        this.draw();
    }

    choose(index) {
        this.set(this.shipped(index), this.names[index], index);
        this.changed();
    }

    // ---- drawing

    // Show `data` in place of the chosen image, for a run over many; without, the chosen one.
    draw(data = this.data) {
        const image = new ImageData(this.width, this.height);
        for (let pixel = 0; pixel < this.width * this.height; pixel++) {
            image.data.set(data.subarray(BYTES * pixel, BYTES * (pixel + 1)), 4 * pixel);
            image.data[4 * pixel + 3] = 255;
        }
        this.small.getContext("2d").putImageData(image, 0, 0);
        const context = this.parts.canvas.getContext("2d");
        context.imageSmoothingEnabled = false;
        context.drawImage(this.small, 0, 0, this.parts.canvas.width, this.parts.canvas.height);
        for (const [place, colour] of [[this.mark, "#ff2fd0"], [this.cursor, "#00c8ff"]]) {
            if (place === null) continue;
            context.lineWidth = 2;
            context.strokeStyle = colour;
            context.strokeRect(SCALE * (place % this.width), SCALE * Math.floor(place / this.width), SCALE, SCALE);
        }
    }

    thumbnails() {
        this.boxes = this.names.map((name, index) => {
            const box = document.createElement("canvas");
            box.width = this.width;
            box.height = this.height;
            const image = new ImageData(this.width, this.height), data = this.shipped(index);
            for (let pixel = 0; pixel < this.width * this.height; pixel++) {
                image.data.set([...data.subarray(BYTES * pixel, BYTES * (pixel + 1)), 255], 4 * pixel);
            }
            box.getContext("2d").putImageData(image, 0, 0);
            box.setAttribute("role", "radio");
            box.setAttribute("aria-label", name);
            box.title = name;
            box.addEventListener("click", () => this.choose(index));
            return box;
        });
        this.parts.shipped.append(...this.boxes);
        this.parts.shipped.addEventListener("keydown", (event) => {
            const style = getComputedStyle(this.parts.shipped);
            const lines = (tracks) => tracks.split(" ").length;
            const [right, down] = style.gridAutoFlow.startsWith("column")
                ? [lines(style.gridTemplateRows), 1] : [1, lines(style.gridTemplateColumns)];
            const step = { ArrowLeft: -right, ArrowRight: right, ArrowUp: -down, ArrowDown: down }[event.key];
            if (!step) return;
            event.preventDefault();
            const next = this.boxes.indexOf(document.activeElement) + step;
            if (next < 0 || next >= this.boxes.length) return;
            this.choose(next);
            this.boxes[next].focus();
        });
    }

    // ---- painting

    paint(place) {
        const colour = parseInt(this.parts.colour.value.slice(1), 16);
        const rgb = [colour >> 16, (colour >> 8) & 255, colour & 255];
        const brush = Number(this.parts.brush.value);
        const left = (place % this.width) - Math.floor((brush - 1) / 2);
        const top = Math.floor(place / this.width) - Math.floor((brush - 1) / 2);
        const data = this.data.slice();
        for (let y = Math.max(0, top); y < Math.min(this.height, top + brush); y++) {
            for (let x = Math.max(0, left); x < Math.min(this.width, left + brush); x++) data.set(rgb, BYTES * (y * this.width + x));
        }
        this.set(data, "painted");
    }

    painting() {
        const { canvas } = this.parts;
        const place = (event) => {
            const box = canvas.getBoundingClientRect();
            const x = Math.floor(((event.clientX - box.left) / box.width) * this.width);
            const y = Math.floor(((event.clientY - box.top) / box.height) * this.height);
            return Math.max(0, Math.min(this.height - 1, y)) * this.width + Math.max(0, Math.min(this.width - 1, x));
        };
        let down = false;
        canvas.addEventListener("pointerdown", (event) => {
            down = true;
            canvas.setPointerCapture(event.pointerId);
            this.paint(place(event));
        });
        canvas.addEventListener("pointermove", (event) => { if (down) this.paint(place(event)); });
        const up = () => { if (down) this.changed(); down = false; };
        canvas.addEventListener("pointerup", up);
        canvas.addEventListener("pointercancel", up);
        canvas.addEventListener("blur", () => { this.cursor = null; this.draw(); });
        canvas.addEventListener("keydown", (event) => {
            const at = this.cursor ?? (this.height >> 1) * this.width + (this.width >> 1);
            const column = at % this.width, row = Math.floor(at / this.width);
            const moves = {
                ArrowLeft: [Math.max(0, column - 1), row], ArrowRight: [Math.min(this.width - 1, column + 1), row],
                ArrowUp: [column, Math.max(0, row - 1)], ArrowDown: [column, Math.min(this.height - 1, row + 1)],
            };
            if (event.key === " ") {
                this.cursor = at;
                this.paint(at);
                this.changed();
            } else if (event.key in moves) {
                const [x, y] = moves[event.key];
                this.cursor = y * this.width + x;
                this.draw();
            } else {
                return;
            }
            event.preventDefault();
        });
        this.parts.blank.addEventListener("click", () => {
            this.set(new Uint8Array(this.size).fill(255), "blank");
            this.changed();
        });
    }

    // ---- pictures

    // The middle of the picture in the image's proportions, scaled.
    async load(file) {
        let bitmap;
        try {
            bitmap = await createImageBitmap(file);
        } catch {
            throw new Error(`${file.name}: no picture that this browser can read`);
        }
        const scale = Math.min(bitmap.width / this.width, bitmap.height / this.height);
        const width = scale * this.width, height = scale * this.height;
        const canvas = document.createElement("canvas");
        canvas.width = this.width;
        canvas.height = this.height;
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.fillStyle = "#fff"; // behind what is transparent
        context.fillRect(0, 0, this.width, this.height);
        context.imageSmoothingQuality = "high";
        context.drawImage(bitmap, (bitmap.width - width) / 2, (bitmap.height - height) / 2, width, height, 0, 0, this.width, this.height);
        const pixels = context.getImageData(0, 0, this.width, this.height).data;
        const data = new Uint8Array(this.size);
        for (let pixel = 0; pixel < this.width * this.height; pixel++) data.set(pixels.subarray(4 * pixel, 4 * pixel + BYTES), BYTES * pixel);
        this.set(data, file.name);
        this.changed();
    }

    files() {
        const { file, drop, failed } = this.parts;
        const load = (one) => { if (one) this.load(one).catch((error) => failed(error.message)); };
        file.addEventListener("change", () => { load(file.files[0]); file.value = ""; });
        drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("dropping"); });
        drop.addEventListener("dragleave", () => drop.classList.remove("dropping"));
        drop.addEventListener("drop", (event) => {
            event.preventDefault();
            drop.classList.remove("dropping");
            load(event.dataTransfer.files[0]);
        });
    }
}
