"""A headless Chromium for tests, driven by its DevTools protocol through a pipe; nothing but the standard library.

with Browser() as browser:
    browser.open("http://localhost:8000/")
    browser.wait("document.title === 'done'")
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
SECONDS = 60.0
POLL = 0.05
READ, WRITE = 3, 4
"""The descriptors at which Chromium expects the pipes."""


class BrowserError(AssertionError):
    """The browser is missing, does not answer, or the page has failed."""


def program() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page. What it logs as an error, and every exception that it does not catch, is in `errors`."""

    def __init__(self, *options: str) -> None:
        found = program()
        if found is None:
            raise BrowserError("Chromium is not installed: apt-get install --no-install-recommends chromium")
        self.profile = tempfile.TemporaryDirectory(prefix="abbnn-browser-", ignore_cleanup_errors=True)
        theirs_in, self.sink = os.pipe()
        self.source, theirs_out = os.pipe()
        # Above those that the child gets them as, so that one dup2 does not close the other.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (theirs_in, theirs_out)]
        with open(os.devnull, "r+b") as null:
            actions = [
                (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, null.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, null.fileno(), 2),
                (os.POSIX_SPAWN_DUP2, theirs[0], READ),
                (os.POSIX_SPAWN_DUP2, theirs[1], WRITE),
            ]
            command = [found, *OPTIONS, *options, f"--user-data-dir={self.profile.name}", "about:blank"]
            # A group of its own, which is killed whole.
            self.process = os.posix_spawn(found, command, os.environ, file_actions=actions, setpgroup=0)
        for fd in (theirs_in, theirs_out, *theirs):
            os.close(fd)
        self.number = 0
        self.buffer = b""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.bindings: deque[str] = deque()
        """Payloads with which the page has called what `bind` gave it."""
        target = self.send("Target.createTarget", {"url": "about:blank"}, session=False)["targetId"]
        attached = self.send("Target.attachToTarget", {"targetId": target, "flatten": True}, session=False)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        os.killpg(self.process, 9)
        os.waitpid(self.process, 0)
        os.close(self.sink)
        os.close(self.source)
        self.profile.cleanup()

    # ---- the protocol

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message, None if none comes in that time."""
        deadline = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            if not select.select([self.source], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            data = os.read(self.source, 1 << 20)
            if not data:
                raise BrowserError("the browser has ended")
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} ({parameters['entry'].get('url', '')})")
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.bindingCalled":
            self.bindings.append(parameters["payload"])

    def send(self, method: str, parameters: dict[str, Any] | None = None, *, session: bool = True) -> dict[str, Any]:
        """The result of one command."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.sink, data) :]
        deadline = time.monotonic() + SECONDS
        while (answer := self._receive(deadline - time.monotonic())) is not None:
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
        raise BrowserError(f"{method}: no answer in {SECONDS:.0f} s")

    def pump(self, seconds: float = 0.0) -> None:
        """Take in what the browser says meanwhile."""
        while self._receive(seconds) is not None:
            seconds = 0.0

    # ---- the page

    def open(self, url: str) -> None:
        self.send("Page.navigate", {"url": url})

    def script(self, source: str) -> None:
        """Runs `source` in every page that is opened from now on, before its own scripts."""
        self.send("Page.addScriptToEvaluateOnNewDocument", {"source": source})

    def bind(self, name: str) -> None:
        """A function of the page whose one argument, a text, comes to `bindings`."""
        self.send("Runtime.addBinding", {"name": name})

    def value(self, expression: str) -> Any:
        """Of JavaScript, awaited."""
        answer = self.send("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True})
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"{expression}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.value(f"document.querySelector({json.dumps(selector)}).textContent"))

    def wait(self, condition: str, seconds: float = SECONDS) -> None:
        """Until the page says so. BrowserError with the page's errors if it does not."""
        deadline = time.monotonic() + seconds
        while not self.value(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"{condition}: not so after {seconds:.0f} s; {self.errors}")
            self.pump(POLL)

    def click(self, selector: str) -> None:
        """A press of the mouse in the middle of the element, where a user would see it."""
        x, y = self.value(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)}); "
            "found.scrollIntoView({block: 'center'}); const box = found.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})

    def key(self, key: str) -> None:
        """One of the keys that write nothing, such as ArrowDown, or the space bar."""
        more = {"text": " "} if key == " " else {}
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", "key": key, "code": key, **more})
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", "key": key, "code": key})

    def choose_file(self, selector: str, file: Path) -> None:
        """As if a user had chosen `file` for this input element."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.send("DOM.setFileInputFiles", {"nodeId": node, "files": [str(file)]})

    def view(self, width: int, height: int, *, scale: float = 1, dark: bool = False) -> None:
        """The window's size, and whether the user likes it dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", {"features": [feature]})

    def screenshot(self, file: Path) -> None:
        shot = self.send("Page.captureScreenshot", {"format": "png"})
        file.write_bytes(base64.b64decode(shot["data"]))
