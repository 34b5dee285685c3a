"""`abbnn report picture`: what it draws is the layer list, and docs/pipeline.svg is what it draws."""

from xml.etree import ElementTree

import pytest

from abbnn import paths
from abbnn.export.pipeline import Pipeline
from abbnn.golden.structure import block_name
from abbnn.report.__main__ import main
from abbnn.report.picture import drawn, svg

TINY = paths.MODELS / "tiny.safetensors"


def test_the_picture_in_the_docs_is_of_this_tree(tmp_path) -> None:
    assert main(["picture", str(TINY), "--out", str(tmp_path / "p.svg")]) == 0
    assert (tmp_path / "p.svg").read_text() == (paths.CHECKOUT / "docs" / "pipeline.svg").read_text()


@pytest.mark.parametrize("cycles", [4096, 16384])
def test_every_stage_is_drawn_with_its_shortcut(cycles) -> None:
    pipeline = Pipeline.read(TINY, cycles=cycles)
    structure = pipeline.network.structure
    boxes = {box.name: box for box in drawn(pipeline)}
    assert list(boxes) == ["stem", *map(block_name, range(len(structure.blocks))), "head"]
    for index, block in enumerate(structure.blocks):
        box = boxes[block_name(index)]
        assert box.size == (block.out_height, block.out_width, block.out_channels)
        assert box.shortcut == ("" if block.shortcut == "identity" else block.shortcut)
    assert all(0 < box.busy <= 1 for box in boxes.values())
    tree = ElementTree.fromstring(svg(pipeline))
    rectangles = [each.get("class") for each in tree.iter() if each.tag.endswith("rect")]
    assert rectangles == ["box", "busy"] * len(boxes)


def test_no_network_is_one_line(tmp_path, capsys) -> None:
    assert main(["picture", str(tmp_path / "gone.safetensors"), "--out", str(tmp_path / "p.svg")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "p.svg").exists()
