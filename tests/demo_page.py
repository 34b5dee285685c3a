"""`make demo-test`: the page of `abbnn demo` in a headless Chromium, against the golden model and a board in software.

Its name keeps it out of `make test`, which needs neither Emscripten nor Chromium. Screenshots go to
build/demo-screenshots.
"""

import json
import shutil
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from browser import Browser, BrowserError
from device_model import DeviceModel
from PIL import Image

from abbnn import paths
from abbnn.api import golden, shipped_images
from abbnn.demo.__main__ import MEMORIES, server, write
from abbnn.errors import UserError
from abbnn.export.pipeline import Pipeline
from abbnn.golden.network import network_hash
from abbnn.host.packet import Type, encode

PIPELINE = Pipeline.read(paths.MODELS / "tiny.safetensors")
NETWORK = PIPELINE.network
STRUCTURE = NETWORK.structure
SHAPE = (STRUCTURE.height, STRUCTURE.width, 3)
STAGES = [config.name for config in PIPELINE.configs]
SCREENSHOTS = paths.BUILD / "demo-screenshots"
WATCH = """
const Plain = Worker;
Worker = class extends Plain {
    constructor(...words) {
        super(...words);
        this.addEventListener("message", ({ data }) => { if (data.kind === "state") window.lastState = data; });
    }
    postMessage(message, ...more) {
        if (message.kind === "start") window.lastFrames = message.frames.slice();
        super.postMessage(message, ...more);
    }
};
"""
"""The page's own worker, with what passes kept for the tests."""
SERIAL = """
Object.defineProperty(navigator, "serial", { value: {
    async requestPort() {
        let controller = null;
        const port = {
            readable: null, writable: null,
            async open({ baudRate }) {
                toDevice(JSON.stringify({ baudRate }));
                this.readable = new ReadableStream({ start(given) { controller = given; } });
                this.writable = new WritableStream({ write(data) { toDevice(JSON.stringify({ data: [...data] })); } });
            },
            async close() { this.readable = this.writable = null; },
        };
        window.fromDevice = (data) => controller.enqueue(Uint8Array.from(data));
        return port;
    },
} });
"""
"""Web Serial whose port ends in `toDevice` and begins in `fromDevice`."""


@contextmanager
def served(folder):
    """The address of a page's folder."""
    with server(folder, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://localhost:{serving.server_port}/"
        serving.shutdown()


def opened(browser, address):
    """The page, until the core is ready."""
    browser.open(address)
    browser.wait("document.body?.dataset.state === 'paused' && window.lastState")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page's folder and address."""
    folder = tmp_path_factory.mktemp("demo") / "page"
    try:
        write(PIPELINE, folder)
    except UserError as error:
        pytest.exit(f"demo-test: {error}", 2)
    with served(folder) as address:
        yield folder, address


@pytest.fixture(scope="module")
def chromium():
    try:
        browser = Browser()
    except BrowserError as error:
        pytest.exit(f"demo-test: {error}", 2)
    with browser:
        browser.script(WATCH)
        browser.script(SERIAL)
        browser.bind("toDevice")
        yield browser


@pytest.fixture
def page(chromium, site):
    """The page as it opens, with the core ready; nothing may have failed in it or been asked for elsewhere."""
    address = site[1]
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.view(1280, 900)
    opened(chromium, address)
    yield chromium
    assert chromium.errors == []
    assert [url for url in chromium.requests if not url.startswith(address)] == []


def number(page, selector):
    """The first number in an element's text."""
    return int(page.text(selector).split()[0].replace(",", ""))


def state(page, key):
    return page.value(f"lastState.{key}")


def frames(page):
    """The images that the core was given last."""
    return np.array(page.value("[...lastFrames]"), np.uint8).reshape(-1, *SHAPE)


def finish(page):
    """Run to the result."""
    page.click("#run")
    page.wait("document.body.dataset.state === 'ended'")


def shown_scores(page):
    """What the bars say, class by class."""
    texts = page.value("[...document.querySelectorAll('#scores .value')].map((one) => one.textContent)")
    return [int(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) for text in texts]


def table(page, selector):
    """(image, class name, scores) of every row."""
    rows = page.value(
        f"[...document.querySelectorAll('{selector} tr')].slice(1)"
        ".map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    return [(int(row[0]), row[-2], [int(word) for word in row[-1].split()]) for row in rows]


def names(page):
    return page.value("fetch('network.json').then((answer) => answer.json())")["classes"]


def check_table(page, selector):
    """All shipped images' classes and scores are the golden model's, by a table of the page."""
    images, _ = shipped_images(NETWORK)
    layers = golden(NETWORK, images)
    found = names(page)
    expected = [
        (index, found[winner], scores.tolist())
        for index, (winner, scores) in enumerate(zip(layers["class"], layers["scores"], strict=True))
    ]
    assert table(page, selector) == expected


# ---- the simulation


def test_all_shipped_images_back_to_back(page):
    page.click("#all")
    page.wait("document.body.dataset.state === 'ended'")
    check_table(page, "#scores")
    images, labels = shipped_images(NETWORK)
    right = int((golden(NETWORK, images)["class"] == labels).sum())
    assert page.text("#result") == f"100 images: 100 equal the golden model's, {right} are what their labels say"
    assert number(page, "#latency") == PIPELINE.timing.latency
    left = np.array(page.value("[...lastState.left]"))
    assert (np.diff(left) == PIPELINE.timing.interval).all()
    assert number(page, "#interval") == PIPELINE.timing.interval


@pytest.mark.parametrize("image", [0, 37])
def test_every_value_of_every_stage(page, image):
    """What the page draws: all maps of an image, its class and its ten scores."""
    page.click(f"#shipped canvas:nth-child({image + 1})")
    finish(page)
    images, _ = shipped_images(NETWORK)
    layers = golden(NETWORK, images[image : image + 1])
    np.testing.assert_array_equal(frames(page), images[image : image + 1])
    for index, name in enumerate(STAGES[:-1]):
        got = np.array(page.value(f"[...lastState.maps[{index}]]")).reshape(layers[name][0].shape)
        np.testing.assert_array_equal(got, layers[name][0], err_msg=name)
    assert shown_scores(page) == layers["scores"][0].tolist()
    assert page.text("#result").endswith("class and scores equal the golden model's")
    assert number(page, "#cycles") == number(page, "#latency") == PIPELINE.timing.latency


def test_a_damaged_memory_is_seen(page, site, tmp_path):
    """The page's comparison can fail: one bit of a bias of the head is another."""
    folder = shutil.copytree(site[0], tmp_path / "page")
    memories = json.loads((folder / MEMORIES).read_text())
    first, rest = memories["head_bias.mem"].split("\n", 1)
    memories["head_bias.mem"] = f"{int(first, 16) ^ 1:0{len(first)}x}\n{rest}"
    (folder / MEMORIES).write_text(json.dumps(memories))
    with served(folder) as address:
        opened(page, address)
        finish(page)
        assert page.text("#result").endswith("; the golden model differs")
        page.click("#all")
        page.wait("lastState.ended && lastState.results === 100 && document.body.dataset.state === 'ended'")
        assert page.text("#result").startswith("100 images: 0 equal the golden model's")
        page.open(site[1])
        page.requests.clear()


def test_single_cycles(page):
    """The pixel that the guard's register holds comes first; then every click is one cycle more."""
    for _ in range(100):
        before = state(page, "cycles")
        page.click("#cycle")
        page.wait(f"lastState.cycles === {before + 1}")
        if state(page, "pixels"):
            break
    page.wait("document.getElementById('cycles').textContent === '0'")
    for cycle in range(1, 12):
        page.click("#cycle")
        page.wait(f"document.getElementById('cycles').textContent === '{cycle}'")
    assert not state(page, "running")


def test_single_beats_lead_to_the_class_in_time(page):
    """Each beat of the head is a click, whatever the number of cycles; the class leaves after the formula's latency."""
    head = STAGES.index("head")
    page.value(f"document.getElementById('watched').value = {head}")
    for beat in range(1, STRUCTURE.classes + 2):
        page.click("#beat")
        page.wait(f"lastState.streams[{4 * head}] === {beat}")
        assert state(page, f"streams[{4 * head + 1}]") == 1
    assert state(page, "results") == 0
    while not state(page, "ended"):
        before = state(page, "cycles")
        page.click("#cycle")
        page.wait(f"lastState.cycles === {before + 1}")
    assert state(page, "cycles") - 1 - state(page, "entered") == PIPELINE.timing.latency
    page.wait(f"document.getElementById('cycles').textContent === '{PIPELINE.timing.latency:,}'")


def test_a_beat_of_any_stage(page):
    for _ in range(5):
        before = page.value("[...lastState.streams]")
        page.click("#beat")
        page.wait(f"JSON.stringify([...lastState.streams]) !== '{json.dumps(before, separators=(',', ':'))}'")
        moved = [page.value(f"lastState.streams[{4 * index + 1}]") for index in range(len(STAGES))]
        after = page.value("[...lastState.streams]")
        assert sum(moved) > 0
        assert [after[4 * i] - before[4 * i] for i in range(len(STAGES))] == moved


def test_speed_and_pause(page):
    page.value(
        "const speed = document.getElementById('speed'); speed.value = 2; speed.dispatchEvent(new Event('input'))"
    )
    assert page.text("#speed-text") == "100 cycles/s"
    begun = time.monotonic()
    page.click("#run")
    page.wait("lastState.cycles > 100")
    page.click("#run")
    page.wait("document.body.dataset.state === 'paused'")
    assert time.monotonic() - begun > 0.9
    stopped = state(page, "cycles")
    page.pump(0.3)
    assert state(page, "cycles") == stopped < 100 * (time.monotonic() - begun) + 30
    page.click("#reset")
    page.wait("lastState.cycles === 0")


def test_probe(page):
    """The value under the arrow keys is the golden model's."""
    finish(page)
    page.value("document.querySelector('[data-stage=block00] canvas').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.key(key)
    expected = golden(NETWORK, shipped_images(NETWORK)[0][:1])["block00"][0, 1, 2, 0]
    assert page.text("#probe") == f"block00, channel 0, row 1, column 2: {expected:,}"


# ---- images


def test_a_picture_of_the_right_size_enters_as_it_is(page, tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, SHAPE, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    page.choose_file("#file", tmp_path / "noise.png")
    page.wait("document.getElementById('input-name').textContent === 'noise.png'")
    finish(page)
    np.testing.assert_array_equal(frames(page)[0], pixels)
    assert shown_scores(page) == golden(NETWORK, pixels[None])["scores"][0].tolist()


def test_a_larger_picture_is_cut_and_scaled(page, tmp_path):
    """128 columns whose outer 32 on either side are red: what enters is the green middle, with a blue upper half."""
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :, 0] = 255
    pixels[:, 32:96] = (0, 255, 0)
    pixels[:32, 32:96] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    page.choose_file("#file", tmp_path / "wide.png")
    page.wait("document.getElementById('input-name').textContent === 'wide.png'")
    finish(page)
    (image,) = frames(page)
    assert (image[:15] == (0, 0, 255)).all()
    assert (image[17:] == (0, 255, 0)).all()
    assert shown_scores(page) == golden(NETWORK, image[None])["scores"][0].tolist()


def test_what_is_no_picture_is_said(page, tmp_path):
    (tmp_path / "words.png").write_text("no picture")
    page.choose_file("#file", tmp_path / "words.png")
    page.wait("!document.getElementById('error').hidden")
    assert page.text("#error") == "words.png: no picture that this browser can read"


def test_painting(page):
    """The pointer paints the middle in the chosen colour, the keys a pixel beside it."""
    page.click("#blank")
    page.wait("document.getElementById('input-name').textContent === 'blank'")
    page.value("document.getElementById('brush').value = 1; document.getElementById('colour').value = '#102030'")
    page.click("#picture")
    page.wait("document.getElementById('input-name').textContent === 'painted'")
    page.value("document.getElementById('picture').focus()")
    for key in ("ArrowRight", "ArrowDown", " "):
        page.key(key)
    finish(page)
    (image,) = frames(page)
    rows, columns = np.nonzero((image != 255).any(axis=2))
    middle = STRUCTURE.height // 2, STRUCTURE.width // 2
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {middle, (middle[0] + 1, middle[1] + 1)}
    assert (image[middle] == (0x10, 0x20, 0x30)).all()
    assert shown_scores(page) == golden(NETWORK, image[None])["scores"][0].tolist()


# ---- the board


class Board:
    """The page's serial port, with a board in software at its other end, whose time is the clock's."""

    def __init__(self, page):
        self.page = page
        self.model = DeviceModel(
            lambda image: golden(NETWORK, image[None])["scores"][0],
            STRUCTURE.height,
            STRUCTURE.width,
            STRUCTURE.classes,
        )
        identity = int(network_hash(NETWORK)[:16], 16)
        self.model.registers |= {0x08: identity & 0xFFFFFFFF, 0x0C: identity >> 32}
        self.rates = []
        self.begun = time.monotonic()
        page.bindings.clear()

    def wait(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not self.page.value(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"{condition}; {self.page.text('#board-status')}"
            self.page.pump(0.005)
            while self.page.bindings:
                said = json.loads(self.page.bindings.popleft())
                if "data" in said:
                    self.model.write(bytes(said["data"]))
                else:
                    self.rates.append(said["baudRate"])
            answers = b""
            while True:
                self.model.timeout = max(0.0, time.monotonic() - self.begun - self.model.now)
                answer = self.model.read(1 << 16)
                if not answer:
                    break
                answers += answer
            if answers:
                self.page.value(f"fromDevice({list(answers)})")

    def connect(self):
        self.page.click("#tab-board")
        self.page.click("#connect")
        self.wait("document.getElementById('board-status').className")


@pytest.fixture
def board(page):
    return Board(page)


def said(identity):
    return f"document.getElementById('{identity}').className"


def test_the_board_gets_the_image(page, board):
    board.connect()
    assert page.text("#board-status") == "connected"
    assert board.rates == [3_000_000]
    page.click("#shipped canvas:nth-child(8)")
    page.click("#classify")
    board.wait(said("board-result"))
    scores = golden(NETWORK, shipped_images(NETWORK)[0][7:8])["scores"][0]
    shown = page.value("[...document.querySelectorAll('#board-scores .value')].map((one) => one.textContent)")
    assert [int(text.replace(",", "")) for text in shown] == scores.tolist()
    assert "class and scores equal the golden model's" in page.text("#board-result")
    assert board.model.lost == 0
    page.click("#connect")
    board.wait("document.getElementById('board-status').textContent === 'not connected'")


def test_all_images_through_the_board(page, board):
    board.connect()
    page.click("#classify-all")
    board.wait(said("board-result"), 120)
    check_table(page, "#board-scores")
    assert board.model.registers[0x2C] == 100
    assert board.model.lost == 0


def test_a_bad_line(page, board):
    """A byte that is wrong in an image, one that is missing, and an answer that is damaged: the image goes again."""
    board.connect()
    count = iter(range(1 << 20))
    faults = {1000: lambda byte: bytes([byte ^ 4]), 5000: lambda byte: b""}
    board.model.to_device = lambda byte: faults.get(next(count), lambda same: bytes([same]))(byte)
    answered = iter(range(1 << 20))
    board.model.to_host = lambda byte: bytes([byte ^ (1 if next(answered) == 700 else 0)])
    page.click("#classify")
    board.wait(said("board-result"))
    assert "equal the golden model's" in page.text("#board-result")
    assert board.model.bad > 0
    facts = page.text("#board-facts")
    assert int(facts.rpartition("repeated")[2]) > 0
    assert page.value("document.getElementById('board-scores').children.length") == STRUCTURE.classes


def test_a_board_that_refuses(page, board):
    board.connect()
    board.model.registers[0x20] = 0
    page.click("#classify")
    board.wait("document.getElementById('board-status').className === 'bad'")
    assert page.text("#board-status") == "the device refuses image: not ready: the core has no tables"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({0x00: 0x12345678}, "the device says that it is 12345678, not 4142424e"),
        ({0x14: 16 << 16 | 24}, "the board takes images of 16x24 and has 10 classes; this page has 32x32 and 10"),
        ({0x20: 8}, "the core has no tables yet: abbnn host load"),
    ],
)
def test_another_device(page, board, change, wrong):
    board.model.registers |= change
    board.connect()
    assert page.text("#board-status") == wrong
    assert page.text("#connect") == "Connect…"


def test_packets_are_the_hosts(page):
    """packet.js and host/packet.py encode alike, and the decoder finds packets between noise."""
    generator = np.random.default_rng(5)
    packets = [
        (int(kind), int(generator.integers(256)), generator.bytes(length))
        for kind, length in zip(
            [Type.PING, Type.READ, Type.IMAGE, Type.RESULT, Type.CREDIT], [0, 2, 3072, 44, 4], strict=True
        )
    ]
    stream = b"".join(b"\xab\x4e\xab" + generator.bytes(5) + encode(*packet) for packet in packets)
    found = page.value(
        "import('./packet.js').then(({ encode, Decoder }) => { const decoder = new Decoder(), found = [];"
        f"for (const byte of {list(stream)}) found.push(...decoder.feed([byte]));"
        "return found.map(({ type, tag, payload }) => [type, tag, [...payload], [...encode(type, tag, payload)]]); })"
    )
    assert found == [[kind, tag, list(payload), list(encode(kind, tag, payload))] for kind, tag, payload in packets]


def test_a_browser_without_web_serial(page):
    page.value(
        "import('./board.js').then(({ Board }) => { Object.defineProperty(Navigator.prototype, 'serial', {});"
        "const plain = Object.create(null); const at = (id) => plain[id] ??= { disabled: false };"
        "const shown = navigator; window.board = plain; "
        "Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });"
        "new Board({}, {}, at); Object.defineProperty(globalThis, 'navigator', { value: shown }); })"
    )
    assert page.value("board.connect.disabled")
    assert page.value("board['board-status'].textContent").startswith("This browser has no Web Serial.")


# ---- how it looks


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(page, width):
    page.view(width, 800)
    for tab in ("board", "simulation"):
        page.click(f"#tab-{tab}")
        assert page.value("document.documentElement.scrollWidth") <= width


def test_everything_has_a_name(page):
    """By the browser's own accessibility tree, as a screen reader gets it."""
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "radio", "img", "tab", "slider", "combobox", "listbox", "tabpanel", "radiogroup", "ColorWell"}
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert len(shown) > 100
    assert [node["role"]["value"] for node in shown if not node.get("name", {}).get("value")] == []


@pytest.mark.parametrize(("width", "right", "down"), [(1280, 1, 10), (390, 3, 1)])
def test_shipped_images_by_keyboard(page, width, right, down):
    """Rows on a desk, a strip of three rows on a phone: the arrows go where they point."""
    page.view(width, 800)
    page.value("document.querySelector('#shipped canvas').focus()")
    for key, expected in (("ArrowRight", right), ("ArrowDown", right + down), ("ArrowLeft", down), ("ArrowUp", 0)):
        page.key(key)
        assert page.text("#input-name").split(":")[0] == str(expected)
        chosen = page.value("[...document.querySelectorAll('#shipped canvas')].indexOf(document.activeElement)")
        assert chosen == expected


def test_tabs_by_keyboard(page):
    page.value("document.getElementById('tab-simulation').focus()")
    page.key("ArrowRight")
    assert page.value("document.activeElement.id") == "tab-board"
    assert page.value("document.getElementById('simulation').hidden")
    assert not page.value("document.getElementById('board').hidden")


def test_screenshots(page):
    """Halfway through an image, in light, in the dark and on a phone; and the board's tab."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.click("#shipped canvas:nth-child(8)")
    watched = STAGES.index("block05")
    page.value(f"document.getElementById('watched').value = {watched}")
    page.click("#beat")
    page.wait(f"lastState.streams[{4 * watched}] > 0")
    page.value("document.getElementById('watched').selectedIndex = 0")
    views = [
        ("demo", "simulation", 1280, 960, False),
        ("demo-dark", "simulation", 1280, 960, True),
        ("demo-phone", "simulation", 390, 2400, False),
        ("demo-board", "board", 1280, 960, False),
    ]
    for name, tab, width, height, dark in views:
        page.view(width, height, dark=dark)
        page.click(f"#tab-{tab}")
        page.value("document.activeElement.blur(); scrollTo(0, 0)")
        page.pump(0.5)
        file = SCREENSHOTS / f"{name}.png"
        page.screenshot(file)
        with Image.open(file) as shot:
            assert shot.size == (width, height)
            assert len(shot.convert("RGB").getcolors(1 << 24)) > 50
