"""The documents: their links lead somewhere, their commands exist as written, and marked ones run as they stand."""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from functools import cache
from importlib import import_module

import pytest

from abbnn import paths
from abbnn.__main__ import VERBS

PAGES = [paths.CHECKOUT / "README.md", *sorted((paths.CHECKOUT / "docs").glob("*.md")), paths.MODELS / "README.md"]
MAKEFILE = (paths.CHECKOUT / "Makefile").read_text()
RUN = "<!-- run -->"
"""In front of a block of commands: a test runs them in a copy of the checkout."""


def blocks(text):
    """(whether it is marked, lines) of every block of indented lines, continued lines joined."""
    found = re.findall(rf"({re.escape(RUN)}\n\n)?((?:^    \S.*\n)+(?:^    .*\n)*)", text, re.MULTILINE)
    for mark, block in found:
        yield bool(mark), re.sub(r"\\\n\s*", "", block).splitlines()


def commands(page):
    """Every line of a block that begins with `abbnn` or `make`, as words."""
    for _, lines in blocks(page.read_text()):
        for line in lines:
            words = line.split("#")[0].strip()
            if re.match(r"(abbnn|make) [a-z]", words) and not re.search(r" {3,}[A-Z]", words):
                yield words


COMMANDS = sorted({(page.name, command) for page in PAGES for command in commands(page)})


@cache
def usage(*words):
    """What `abbnn WORDS --help` says."""
    verb = VERBS[words[0]]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as stop:
        import_module(f"abbnn.{verb.module}").main([*(words if verb.several else words[1:]), "--help"])
    assert stop.value.code == 0
    return said.getvalue()


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS])
def test_commands_are_as_they_are_written(page, command):
    """Verb and options of an `abbnn` line, target and variables of a `make` line."""
    tool, first, *rest = re.sub(r"[\[\]|]", " ", command).split()
    if tool == "make":
        assert re.search(rf"^{first}:", MAKEFILE, re.MULTILINE), f"{page}: make has no target {first}"
        for word in rest:
            if "=" in word:
                name = word.split("=")[0]
                assert re.search(rf"\b{name}\b", MAKEFILE), f"{page}: make knows no {name}"
        return
    assert first in VERBS, f"{page}: abbnn has no verb {first}"
    below = [rest[0]] if first in ("host", "report") else []
    for option in (word for word in rest if word.startswith("--")):
        assert re.search(rf"{option}\b", usage(first, *below)), f"{page}: abbnn {first} has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(paths.CHECKOUT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """What git tracks or would, with this environment: what a user has after a clone and `make setup`."""
    folder = tmp_path_factory.mktemp("clone") / "abbnn"
    git = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(git, cwd=paths.CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source, target = paths.CHECKOUT / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    (folder / ".venv").symlink_to(paths.CHECKOUT / ".venv")
    return folder


MARKED = [(page, lines) for page in PAGES for marked, lines in blocks(page.read_text()) if marked]


@pytest.mark.parametrize(("page", "lines"), MARKED, ids=[f"{page.name}: {lines[0].strip()}" for page, lines in MARKED])
def test_marked_blocks_run(page, lines, copy):
    """`abbnn` is the module of the copy, whatever the environment's command was installed from."""
    script = "\n".join(["set -eu", 'abbnn() { .venv/bin/python -m abbnn "$@"; }', *lines])
    done = subprocess.run(["bash", "-c", script], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{page.name}: {shlex.join(lines)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_something_is_marked():
    assert any(page.name == "README.md" for page, _ in MARKED)
