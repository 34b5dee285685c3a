"""tb/volume.py and tb/volume.cpp: what is compared, what is kept, and every way in which a run must fail."""

import dataclasses
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from random_network import random_network

from abbnn.export.folding import balance, read_folding, to_json
from abbnn.export.mem import render
from abbnn.export.random_network import random_images
from abbnn.golden.model import forward
from abbnn.golden.network import save_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.tb import volume
from abbnn.tb.pipeline import flip_bit

STRUCTURE = member("volume", (2,), (1,), classes=3, image=(8, 12), stem=STRIDED_STEM)
NETWORK = random_network(STRUCTURE, seed=3, stem_planes=2)
FOLDING = balance(NETWORK)
IMAGES = random_images(STRUCTURE, 5, 24)
LABELS = np.arange(len(IMAGES)) % STRUCTURE.classes


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory):
    """One simulator for all tests of this file."""
    return tmp_path_factory.mktemp("volume")


@pytest.fixture
def data(tmp_path, build_folder, monkeypatch):
    """The folder with network and images that `run` works in."""
    monkeypatch.setattr(volume, "BUILD", build_folder)
    save_network(NETWORK, tmp_path / "net.safetensors")
    np.savez(tmp_path / "images.npz", images=IMAGES, labels=LABELS)
    return tmp_path


def run(data, *options, out="out", network="net.safetensors", images="images.npz"):
    """`abbnn volume` on the folder's network and images; its exit status."""
    return volume.main([str(word) for word in [data / network, data / images, "--out", data / out, *options]])


def results(data, out="out"):
    """Identity, and the lines of the images in their order."""
    identity, *lines = [json.loads(line) for line in (data / out / volume.RESULTS).read_text().splitlines()]
    return identity, sorted(lines, key=lambda line: line["image"])


# ---- shards, results on disk: no simulator


@pytest.mark.parametrize(("images", "count"), [(10, 1), (10, 3), (7, 7), (10_000, 16), (1, 1)])
def test_shards_are_the_whole_in_order(images, count):
    parts = [volume.Shard(number + 1, count).range(images) for number in range(count)]
    assert [image for part in parts for image in part] == list(range(images))
    assert {len(part) for part in parts} <= {images // count, images // count + 1}


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2", ""])
def test_bad_shard(data, text, capsys):
    assert run(data, f"--shard={text}") == 2
    assert f"--shard {text}: K/N" in capsys.readouterr().err


def identity_of(shard="1/1", images=4, **changes):
    run = volume.Run(NETWORK, FOLDING, IMAGES[:images], LABELS[:images], None)
    return run.identity(volume.Shard.parse(shard)) | changes


def line_of(image, **changes):
    return {"image": image, "class": 1, "cycles": 100, "right": True, "wrong": 0} | changes


def stored(folder, lines, **changes):
    with volume.Store.opened(folder, identity_of(**changes)) as store:
        store.add(lines)
    return volume.Store.read(folder)


def test_store_keeps_lines(tmp_path):
    stored(tmp_path / "run", [line_of(2)])
    assert stored(tmp_path / "run", [line_of(0), line_of(1, wrong=2)]).lines == {
        0: line_of(0),
        1: line_of(1, wrong=2),
        2: line_of(2),
    }


@pytest.mark.parametrize("torn", [b'{"image": 3, "cla', b"{", b'{"image": 3, "class": 1, "cycles": 9, "wrong": 0}'])
def test_store_drops_a_torn_line(tmp_path, torn):
    """A line counts when it has its end: a number in it might be cut."""
    stored(tmp_path, [line_of(0)])
    path = tmp_path / volume.RESULTS
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert set(volume.Store.read(tmp_path).lines) == {0}
    assert set(stored(tmp_path, [line_of(3)]).lines) == {0, 3}
    assert path.read_bytes() == whole + json.dumps(line_of(3)).encode() + b"\n"


def test_store_torn_in_its_first_line(tmp_path):
    (tmp_path / volume.RESULTS).write_bytes(json.dumps(identity_of()).encode()[:50])
    assert set(stored(tmp_path, [line_of(1)]).lines) == {1}


@pytest.mark.parametrize(
    "changes",
    [
        {"network_sha256": "0" * 64},
        {"folding_sha256": "0" * 64},
        {"rtl_sha256": "0" * 64},
        {"images_sha256": "0" * 64},
        {"stall": 1},
        {"shard": "1/2"},
    ],
)
def test_store_of_another_run_is_refused(tmp_path, changes):
    stored(tmp_path, [line_of(0)])
    before = (tmp_path / volume.RESULTS).read_bytes()
    with pytest.raises(ValueError, match=f"of a run with another {next(iter(changes))}"):
        stored(tmp_path, [], **changes)
    assert (tmp_path / volume.RESULTS).read_bytes() == before


def test_identity_tells_runs_apart():
    run = volume.Run(NETWORK, FOLDING, IMAGES, LABELS, None)
    shard = volume.Shard()
    stem = dataclasses.replace(FOLDING["stem"], pe=2)
    assert stem != FOLDING["stem"]
    others = [
        run,
        dataclasses.replace(run, network=random_network(STRUCTURE, seed=4, stem_planes=2)),
        dataclasses.replace(run, folding={**FOLDING, "stem": stem}),
        dataclasses.replace(run, images=IMAGES[::-1]),
        dataclasses.replace(run, labels=LABELS[::-1]),
        dataclasses.replace(run, labels=None),
        dataclasses.replace(run, stall=0),
    ]
    identities = [json.dumps(other.identity(shard)) for other in others]
    assert len(set(identities)) == len(identities)


def test_store_in_use(tmp_path):
    with volume.Store.opened(tmp_path, identity_of()), pytest.raises(ValueError, match="in use by another run"):
        stored(tmp_path, [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not the results of a run"),
        ("{}\n", "not the results of a run"),
        ("nonsense\n", "not the results of a run"),
        (json.dumps(identity_of(version=99)) + "\n", "another format or version"),
        (json.dumps(identity_of()) + '\n{"image": 1}\n', "not the results of a run"),
        (json.dumps(identity_of()) + "\nbroken\n" + json.dumps(line_of(1)) + "\n", "not the results of a run"),
        (json.dumps(identity_of()) + 2 * ("\n" + json.dumps(line_of(1))) + "\n", "an image twice"),
        (json.dumps(identity_of(shard="1/2")) + "\n" + json.dumps(line_of(2)) + "\n", "image 2 is not in shard 1/2"),
    ],
)
def test_unusable_results(tmp_path, text, fault, capsys):
    (tmp_path / volume.RESULTS).write_text(text)
    assert volume.main(["--summary", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert fault in said
    assert said.count("\n") == 1


def test_summary_of_shards(tmp_path, capsys):
    stored(tmp_path / "b", [line_of(2), line_of(3, right=False)], shard="2/2")
    stored(tmp_path / "a", [line_of(1), line_of(0, first=True, cycles=700)], shard="1/2")
    file = tmp_path / "summary.json"
    assert volume.main(["--summary", str(tmp_path / "b"), str(tmp_path / "a"), "--json", str(file)]) == 0
    measured = json.loads(file.read_text())
    assert [measured[key] for key in ("compared", "mismatches", "right", "cycles")] == [4, 0, 3, 1000]
    assert (measured["measured_interval"], measured["measured_latencies"]) == (100, [700])
    said = capsys.readouterr().out
    for fact in ("4 of 4", "16", "0 in 0 images", "3 of 4: 75.00%", "1,000", "100, formula", "700, formula"):
        assert f" {fact}" in said
    assert "the class and every score of every image equal" in said


def test_summary_without_a_shard(tmp_path, capsys):
    stored(tmp_path / "a", [line_of(0)], shard="1/3", images=6)
    stored(tmp_path / "c", [line_of(4), line_of(5)], shard="3/3", images=6)
    assert volume.main(["--summary", str(tmp_path / "a"), str(tmp_path / "c")]) == 1
    said = capsys.readouterr().out
    assert "images compared              3 of 6" in said
    assert "incomplete: no results of shard 2/3" in said
    assert f"incomplete: {tmp_path / 'a'} has 1 of the 2 images of shard 1/3" in said
    assert "equal the golden" not in said


def test_summary_with_a_mismatch(tmp_path, capsys):
    wrong = line_of(3, wrong=2, mismatch={"score": 3, "expected": 1, "got": 2})
    later = line_of(1, wrong=1, mismatch={"score": 0, "expected": -5, "got": 7})
    stored(tmp_path, [line_of(0), wrong, later, line_of(2)])
    assert volume.main(["--summary", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "3 in 2 images" in said
    assert "MISMATCH: score 0 of image 1: expected -5, got 7" in said
    assert "equal the golden" not in said


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"shard": "1/2"}, "shard 1/2: given twice"),
        ({"shard": "2/3"}, "not parts of one whole"),
        ({"shard": "2/2", "rtl_sha256": "0"}, "another rtl_sha256 than"),
    ],
)
def test_summary_of_different_runs(tmp_path, other, fault, capsys):
    stored(tmp_path / "a", [line_of(0)], shard="1/2")
    stored(tmp_path / "b", [], **other)
    assert volume.main(["--summary", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert fault in capsys.readouterr().err


def test_comparison_finds_every_difference():
    layers = forward(NETWORK, IMAGES[:4])
    scores, classes = layers["scores"].astype(np.int32), layers["class"]
    part = volume.Run(NETWORK, FOLDING, IMAGES, LABELS, None).part(range(4))
    results = [volume.Result(i, scores[i].copy(), int(classes[i]), 10 * i, i == 0) for i in range(4)]
    assert [line["wrong"] for line in volume.compared(part, results)] == [0, 0, 0, 0]
    results[1].scores[1] += 1
    results[1].scores[2] -= 1
    results[2] = dataclasses.replace(results[2], winner=int(classes[2]) + 1)
    lines = volume.compared(part, results)
    assert [line["wrong"] for line in lines] == [0, 2, 1, 0]
    expected = int(scores[1, 1])
    assert lines[1]["mismatch"] == {"score": 1, "expected": expected, "got": expected + 1}
    assert volume.described(lines[1], 3) == f"score 1 of image 1: expected {expected}, got {expected + 1}"
    assert volume.described(lines[2], 3) == f"class of image 2: expected {classes[2]}, got {classes[2] + 1}"
    assert [line["right"] for line in lines] == [bool(c == i % 3) for i, c in enumerate([*classes[:2], -1, classes[3]])]
    one = dataclasses.replace(part, images=part.images[:1])
    with pytest.raises(volume.Fault, match="image 0: 2 scores, expected 3"):
        volume.compared(one, [dataclasses.replace(results[0], scores=scores[0, :2])])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--stall", "-1"], "--stall -1"),
        (["--limit", "25"], "--limit 25"),
        (["--limit", "0"], "--limit 0"),
        (["--shard", "25/25"], "there are 24 images"),
        (["--fold", "missing.json"], "missing.json"),
        (["--cycles", "1"], "1 cycles a frame"),
        (["--summary", "missing"], "missing/results.jsonl: missing"),
    ],
)
def test_bad_input(data, options, fault, capsys):
    assert run(data, *options) == 2
    said = capsys.readouterr().err
    assert fault in said
    assert said.count("\n") == 1
    assert not (data / "out").exists()


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"network": "missing.safetensors"}, "missing.safetensors"),
        ({"images": "missing.npz"}, "missing.npz: no such file"),
    ],
)
def test_missing_files(data, files, fault, capsys):
    assert run(data, **files) == 2
    assert fault in capsys.readouterr().err
    assert not (data / "out").exists()


def test_images_of_another_size(data, capsys):
    np.save(data / "large.npy", np.zeros((2, 32, 32, 3), np.uint8))
    assert run(data, images="large.npy") == 2
    assert "large.npy: images of shape (2, 32, 32, 3), expected (N, 8, 12, 3)" in capsys.readouterr().err


def test_labels_beyond_the_classes(data, capsys):
    np.savez(data / "images.npz", images=IMAGES, labels=LABELS + 1)
    assert run(data) == 2
    assert "label 3 of image 2; the network has 3 classes" in capsys.readouterr().err


def test_no_verilator(data, monkeypatch, capsys):
    monkeypatch.setattr("abbnn.tb.bench.verilator_environment", lambda: {"PATH": "/nowhere"})
    assert run(data) == 2
    assert "verilator_bin is not installed" in capsys.readouterr().err


GOOD = [f"{100 * i} {100 * i + 50} 1 0 5 4" for i in range(4)]


@pytest.mark.parametrize(
    ("lines", "status", "fault"),
    [
        ([], 0, "after 0 of 4 results, image 0 being next: it stopped early"),
        ([*GOOD, "end 4 1000"], 3, "after 4 of 4 results, image 3 being next: exit status 3"),
        (GOOD, 0, "it stopped early"),
        ([*GOOD[:2], "end 2 1000"], 0, "after 2 of 4 results, image 2 being next: it stopped early"),
        ([*GOOD, GOOD[0], "end 5 1000"], 0, "after 4 of 4 results"),
        ([GOOD[0], "nonsense"], 0, "unreadable results"),
        (["0 50 1 0 5", *GOOD[1:], "end 4 1000"], 0, "image 0: 2 scores, expected 3"),
    ],
)
def test_simulator_that_fails(data, lines, status, fault, monkeypatch, capsys):
    """Too few, too many or unreadable results, or a bad exit status, are never a run that went well."""
    program = data / "fake"
    program.write_text(
        "#!/bin/sh\ncat > /dev/null\n" + "".join(f"echo {line}\n" for line in lines) + f"exit {status}\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(volume, "build", lambda header, netlist: program)
    assert run(data, "--limit", "4") == 1
    assert fault in capsys.readouterr().err


# ---- the driver on a core of a few lines

FAKE_CORE = """
// Takes 8 x 12 pixels, gives 4 beats 0 0 0 1. The red of a frame's first pixel says what goes wrong.
`include "abbnn_config.vh"
module abbnn_core (
    input wire clk, input wire rst,
    input wire [23:0] s_axis_tdata, input wire s_axis_tvalid, output wire s_axis_tready, input wire s_axis_tlast,
    output wire [31:0] m_axis_tdata, output wire m_axis_tvalid, input wire m_axis_tready, output wire m_axis_tlast,
    output wire [63:0] status_network, output reg [31:0] status_frames,
    output wire [15:0] status_short_frames, output wire [15:0] status_long_frames, output wire status_error
);
reg [7:0] pixel, fault, time_reg;
reg [2:0] beat;
reg giving, bad;
assign s_axis_tready = !giving;
assign m_axis_tvalid = giving && !(fault == 3 && time_reg[0]);
assign m_axis_tdata = fault == 4 ? time_reg : beat == 3;
assign m_axis_tlast = beat == (fault == 1 ? 2 : fault == 2 ? 7 : 3);
assign status_network = 0;
assign status_short_frames = 0;
assign status_long_frames = 0;
assign status_error = bad;
always @(posedge clk) begin
    time_reg <= time_reg + 1;
    if (s_axis_tvalid && s_axis_tready) begin
        pixel <= pixel + 1;
        if (pixel == 0) fault <= s_axis_tdata[7:0];
        if (s_axis_tlast != (pixel == 95)) bad <= 1;
        if (pixel == 95) begin
            pixel <= 0;
            giving <= fault != 5;
        end
    end
    if (m_axis_tvalid && m_axis_tready) begin
        beat <= beat + 1;
        if (m_axis_tlast) begin
            beat <= 0;
            giving <= fault == 6;
            status_frames <= status_frames + (fault != 7);
            bad <= bad || fault == 8;
        end
    end
    if (rst) begin
        pixel <= 0; beat <= 0; giving <= 0; bad <= 0; status_frames <= 0; time_reg <= 0; fault <= 0;
    end
end
endmodule
"""


@pytest.fixture(scope="module")
def fake_core(build_folder):
    source = build_folder / "fake_core.v"
    source.write_text(FAKE_CORE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volume, "BUILD", build_folder)
        patch.setattr(volume, "sources", lambda top: [str(source)])
        return volume.build(volume.structure_headers(render(NETWORK, FOLDING)))


def driven(program, stdin, *, classes=3, patience=1000, quiet=10, burst=0, cwd=None, seed=7):
    command = [program, *(str(number) for number in (96, classes, patience, quiet, burst, seed))]
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, check=False)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


def frames_with(*faults):
    frames = np.zeros((len(faults), 96, 3), np.uint8)
    frames[:, 0, 0] = faults
    return frames.tobytes()


def test_driver(fake_core):
    status, lines, said = driven(fake_core, frames_with(0, 0))
    assert (status, said) == (0, "")
    assert lines == ["0 99 1 0 0 0", "100 199 1 0 0 0", "end 2 210"]


@pytest.mark.parametrize("seed", range(5))
def test_driver_stalled(fake_core, seed):
    """Another time, equal for equal seeds; the results are the same."""
    first, again = (driven(fake_core, frames_with(0, 0, 0), burst=5, seed=seed) for _ in range(2))
    assert first == again
    status, lines, said = first
    assert (status, said, len(lines)) == (0, "", 4)
    assert [line.split()[2:] for line in lines[:3]] == [["1", "0", "0", "0"]] * 3
    assert int(lines[2].split()[1]) > 350


@pytest.mark.parametrize(
    ("fault", "burst", "said"),
    [
        (1, 0, "frame 1: beat 3 of 4 has tlast"),
        (2, 0, "frame 1: beat 4 of 4 lacks tlast"),
        (3, 5, "m_axis_tvalid falls before m_axis_tready"),
        (4, 5, "m_axis changes before m_axis_tready"),
        (5, 0, "no beat for 1001 cycles up to cycle 1196: 1 frames in flight, 1 results"),
        (6, 0, "a result and no frame in flight"),
        (7, 0, "status_frames is 1 after 2 results"),
        (8, 0, "status_error is 1, short frames 0, long frames 0, though no frame was"),
    ],
)
def test_driver_finds_a_faulty_core(fake_core, fault, burst, said):
    status, lines, error = driven(fake_core, frames_with(0, fault), burst=burst)
    assert status == 1
    assert said in error
    assert error.count("\n") == 1
    assert not any(line.startswith("end") for line in lines)


def test_driver_wrong_number_of_classes(fake_core):
    assert driven(fake_core, frames_with(0), classes=4)[::2] == (1, "frame 0: beat 4 of 5 has tlast\n")


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "stdin has no frame"), (100, "stdin ends 100 bytes into frame 0"), (900, "stdin ends 36 bytes into frame 3")],
)
def test_driver_truncated_input(fake_core, size, said):
    status, lines, error = driven(fake_core, frames_with(0, 0, 0, 0)[:size])
    assert (status, lines) == (1, lines[:3])
    assert said in error


@pytest.mark.parametrize(
    "arguments", [[], ["0"] * 6, ["96", "3", "1", "1", "33", "1"], ["96", "3", "1", "1", "0", "x"]]
)
def test_driver_arguments(fake_core, arguments):
    assert subprocess.run([fake_core, *arguments], input=b"", capture_output=True, check=False).returncode == 2


# ---- the core


def test_all_equal_and_continued(data, capsys):
    assert run(data, "--jobs", "2") == 0
    said = capsys.readouterr().out
    expected = volume.timing(NETWORK, FOLDING)
    assert "24 of 24" in said
    assert "96\n" in said  # 24 x (3 scores and the class)
    assert "0 in 0 images" in said
    assert f"{expected.interval:,}, formula {expected.interval:,}" in said
    assert f"{expected.latency:,}, formula {expected.latency:,}" in said
    identity, lines = results(data)
    classes = forward(NETWORK, IMAGES)["class"]
    right = int(np.sum(classes == LABELS))
    assert f"{right} of 24" in said
    assert [line["image"] for line in lines] == list(range(24))
    assert [line["class"] for line in lines] == classes.tolist()
    assert [line["image"] for line in lines if line.get("first")] == [0, 12]

    path = data / "out" / volume.RESULTS
    assert run(data) == 0
    assert "continued, 24 of 24 images are there" in capsys.readouterr().out
    assert results(data) == (identity, lines)
    kept = path.read_text().splitlines(keepends=True)
    path.write_text("".join([kept[0], *kept[3:9], kept[10], kept[11][:-9]]))
    assert run(data) == 0
    said = capsys.readouterr().out
    assert "continued, 7 of 24 images are there" in said
    assert "24 of 24" in said
    assert [line["class"] for line in results(data)[1]] == classes.tolist()


@pytest.mark.parametrize(("options", "firsts"), [(["--limit", "1"], 1), (["--limit", "2", "--jobs", "2"], 2)])
def test_no_interval_to_report(data, options, firsts, capsys):
    """Of single images there are no cycles from class to class."""
    assert run(data, *options) == 0
    assert "cycles between classes       -, formula" in capsys.readouterr().out
    assert sum("first" in line for line in results(data)[1]) == firsts


def test_parts_begin_anew(data):
    assert run(data, "--part", "10") == 0
    assert [line["image"] for line in results(data)[1] if line.get("first")] == [0, 10, 20]


def test_cluster_loses_a_worker(data, build_folder, cluster, tmp_path, capsys, monkeypatch):
    """Two workers with folders of their own, one killed: every image is compared, once. With NIGHTLY=1, both build."""
    address, workers = cluster
    volume.build(volume.structure_headers(render(NETWORK, FOLDING)))
    if os.environ.get("NIGHTLY") != "1":
        for name in ("one", "two"):
            (tmp_path / name / "build" / "volume").mkdir()
            for program in build_folder.glob("core-*"):
                shutil.copy(program, tmp_path / name / "build" / "volume")
    add = volume.Store.add

    def began(name):
        """Whether this worker has begun a part: it has put the memory init files in its folder."""
        return any((tmp_path / name / "build" / "volume").glob("files-*"))

    killed = []

    def and_kill(store, lines):
        add(store, lines)
        if len(store.lines) == 8:  # the scheduler may have given all of them to one: it is the one to lose
            killed.append("one" if began("one") else "two")
            workers[killed == ["two"]].kill()

    monkeypatch.setattr(volume.Store, "add", and_kill)
    assert run(data, "--scheduler", address, "--part", "2") == 0
    assert "24 of 24" in capsys.readouterr().out
    assert [line["image"] for line in results(data)[1]] == list(range(24))
    assert len(killed) == 1
    assert began(killed[0])


def test_shards_together(data, capsys):
    for number in (1, 2, 3):
        assert run(data, "--shard", f"{number}/3", "--limit", "10", out=f"out{number}") == 0
        assert "equal the golden model's" in capsys.readouterr().out
    folders = [str(data / f"out{number}") for number in (1, 2, 3)]
    assert volume.main(["--summary", *folders]) == 0
    assert "images compared              10 of 10" in capsys.readouterr().out
    assert volume.main(["--summary", *folders[1:]]) == 1


def test_stalled_is_equal(data, capsys):
    assert run(data, "--stall", "11", "--limit", "8") == 0
    assert "8 of 8" in capsys.readouterr().out
    assert run(data, "--limit", "8", out="free") == 0
    stalled, free = ([line["cycles"] for line in results(data, out)[1]] for out in ("out", "free"))
    assert sum(stalled) > sum(free)


def test_other_weights_need_no_build(data, capsys):
    """The same hardware with one weight changed: another network, the same simulator, other scores."""
    assert run(data, "--limit", "4") == 0
    weights = NETWORK.blocks[0].weights.copy()
    weights[0, 1, 1, 0] ^= 1
    changed = dataclasses.replace(NETWORK, blocks=(dataclasses.replace(NETWORK.blocks[0], weights=weights),))
    save_network(changed, data / "net.safetensors")
    (data / "fold.json").write_text(to_json(FOLDING))
    capsys.readouterr()
    assert run(data, "--limit", "4") == 2
    assert "of a run with another network_sha256" in capsys.readouterr().err
    assert run(data, "--fold", data / "fold.json", "--limit", "4", out="changed") == 0
    assert "building" not in capsys.readouterr().out


def test_flipped_weight_is_a_mismatch(data, monkeypatch, capsys):
    """The first image that a golden model with the same flip has other scores for, named with what both say."""
    weights = NETWORK.blocks[0].weights.copy()
    weights[0, 1, 1, 0] ^= 1
    changed = dataclasses.replace(NETWORK, blocks=(dataclasses.replace(NETWORK.blocks[0], weights=weights),))
    expected, got = (forward(network, IMAGES)["scores"] for network in (NETWORK, changed))
    image, score = (int(each) for each in np.argwhere(expected != got)[0])

    def damaged(network, folding):
        volume.write(network, folding, data / "damaged" / volume.MEM_FOLDER)
        # PE 1 and SIMD 9: tap 4 is bit 4, or with all inputs at once bit 4 * inputs, of word 0.
        assert FOLDING["block00"].pe == 1
        flip_bit(data / "damaged" / volume.MEM_FOLDER, "block00_weights.mem", 4 * FOLDING["block00"].simd // 9)
        return data / "damaged"

    monkeypatch.setattr(volume, "memory_files", damaged)
    assert run(data) == 1
    said = capsys.readouterr().out
    first = f"MISMATCH: score {score} of image {image}: expected {expected[image, score]}, got {got[image, score]}"
    assert said.count(first) == 2  # at once, and at the end
    assert "equal the golden" not in said
    assert f"make sim SIM=verilator NETWORK={data / 'net.safetensors'} DATA={data / 'images.npz'} " in said
    assert f" FIRST={max(image - 1, 0)} IMAGES={min(image, 1) + 1}\n" in said
    assert read_folding(data / "out" / volume.FOLDING) == FOLDING
    lines = results(data)[1]
    assert [line["wrong"] > 0 for line in lines] == np.any(expected != got, axis=1).tolist()
    # It stays a failure when everything is there already.
    assert run(data) == 1
    assert first in capsys.readouterr().out


def test_build_that_fails(data, monkeypatch, capsys):
    broken = data / "broken.v"
    broken.write_text("module abbnn_core (; endmodule\n")
    monkeypatch.setattr(volume, "sources", lambda top: [str(broken)])
    monkeypatch.setattr(volume, "BUILD", data / "build")
    assert run(data) == 1
    said = capsys.readouterr().err
    assert "abbnn_core cannot be built, see" in said
    assert "syntax error" in said
    assert [path.suffix for path in (data / "build").glob("core-*")] == [".log"]
