"""golden.files: an output appears whole or not at all, whatever stands in its place."""

import errno
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from abbnn.errors import UserError
from abbnn.golden.files import making, replacing, what_is


def write(path, text="new"):
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_device_gets_the_contents(tmp_path):
    """A device of our own, for one of the system would be lost if this failed."""
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    write(device)
    assert stat.S_ISCHR(device.stat().st_mode)
    assert list(tmp_path.iterdir()) == [device]


def test_a_fifo_gets_the_contents(tmp_path):
    fifo, got = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()), daemon=True)
    reader.start()
    write(fifo)
    reader.join(10)
    assert got == ["new"]
    assert list(tmp_path.iterdir()) == [fifo]


def test_a_full_device_is_named():
    with pytest.raises(OSError, match="/dev/full") as caught:
        write(Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one(tmp_path, there):
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    if there:
        target.parent.mkdir()
        target.write_text("old")
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_is_refused_before_the_work(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}: a folder"), replacing(tmp_path):
        pytest.fail("the work was done")


def test_a_file_in_a_folder_that_takes_no_other(tmp_path, monkeypatch):
    """Root may write anywhere, so the system is asked through a stand-in."""
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    (tmp_path / "file").write_text("old")
    number = (tmp_path / "file").stat().st_ino
    write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "file").stat().st_ino == number


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/out'$"), replacing(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match=r"/out: 4 requested and 0 written$"), replacing(tmp_path / "out"):
        raise OSError("4 requested and 0 written")
    with (
        pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/out'$"),
        replacing(tmp_path / "out") as temporary,
    ):
        temporary.unlink()
    assert list(tmp_path.iterdir()) == []


def test_the_umask_is_never_touched(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        write(tmp_path / "file")
        with making(tmp_path / "folder"):
            pass
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, error):
    (tmp_path / "file").write_text("old")
    with pytest.raises(error), replacing(tmp_path / "file"), making(tmp_path / "folder"):
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_what_a_file_is(tmp_path):
    np.save(tmp_path / "a", np.zeros(3))
    np.savez(tmp_path / "b", images=np.zeros(3))
    (tmp_path / "c").write_text("text, that is no file of ours")
    said = [what_is(tmp_path / name) for name in ("a.npy", "b.npz", "c")]
    assert said == ["an array of NumPy", "an archive of NumPy arrays", ""]
