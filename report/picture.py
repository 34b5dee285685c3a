"""`abbnn report picture`: the pipeline of a network as an SVG, from its layer list, folding and timing formulas."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from abbnn.export.folding import stages
from abbnn.export.pipeline import Pipeline
from abbnn.export.schedule import utilisation
from abbnn.golden.structure import block_name

STEP, BOX, SIDE = 78, 58, 92
"""Pixels from stage to stage, of a stage's width, and of the height that the image's side has."""
LEFT, TOP = 70, 58
STYLE = """
  text { font: 11px system-ui, sans-serif; fill: #24292f; text-anchor: middle }
  .name { font-weight: 600 } .small { fill: #57606a; font-size: 10px }
  .box { fill: #ddf4ff; stroke: #0969da } .busy { fill: #54aeff }
  .line { stroke: #57606a; fill: none; stroke-width: 1.5 }
  .shortcut { stroke: #bc4c00; fill: none; stroke-width: 1.5 } .word { fill: #bc4c00; font-size: 10px }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .box { fill: #0c2d6b; stroke: #4493f8 } .busy { fill: #1f6feb }
    .line { stroke: #9198a1 } .shortcut { stroke: #f0883e } .word { fill: #f0883e }
  }
"""


@dataclass(frozen=True)
class Drawn:
    """One box: what it is called, what it gives, its lanes and the share of cycles in which they work."""

    name: str
    size: tuple[int, int, int]
    lanes: str
    busy: float
    shortcut: str


def drawn(pipeline: Pipeline) -> list[Drawn]:
    """The boxes in the order in which a pixel meets them; convolutions of shortcuts belong to their block."""
    structure, interval = pipeline.network.structure, pipeline.timing.interval
    use = utilisation(pipeline.network, pipeline.folding, interval)["stages"]
    sizes = structure.outputs
    shortcuts = {
        block_name(index): "" if block.shortcut == "identity" else block.shortcut
        for index, block in enumerate(structure.blocks)
    }
    return [
        Drawn(
            stage.name,
            sizes[stage.name],
            f"{pipeline.folding[stage.name].pe} x {pipeline.folding[stage.name].simd}",
            use[stage.name],
            shortcuts.get(stage.name, "-"),
        )
        for stage in stages(pipeline.network)
        if stage.name in sizes
    ]


def svg(pipeline: Pipeline) -> str:
    """Boxes as high as their maps, filled as far as their lanes are busy, with the residual path above each block."""
    boxes, structure = drawn(pipeline), pipeline.network.structure
    middle, width = TOP + SIDE / 2, LEFT * 2 + STEP * len(boxes)
    title = (
        f"{structure.name}: a frame every {pipeline.timing.interval:,} cycles, "
        f"{pipeline.timing.latency:,} from the first pixel to the class"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + SIDE + 66}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text x="{width / 2}" y="16" class="name">{escape(title)}</text>',
        f'<text x="{LEFT / 2}" y="{middle - 6}">pixels</text>',
        f'<path class="line" d="M8 {middle} H{width - 8}"/>',
        f'<text x="{width - LEFT / 2}" y="{middle - 6}">class</text>',
    ]
    for index, box in enumerate(boxes):
        x, high = LEFT + STEP * index + (STEP - BOX) / 2, max(16.0, SIDE * box.size[0] / structure.height)
        top, centre = middle - high / 2, x + BOX / 2
        lines += [
            f'<rect class="box" x="{x}" y="{top:g}" width="{BOX}" height="{high:g}" rx="4"/>',
            f'<rect class="busy" x="{x}" y="{top + high * (1 - box.busy):.1f}" width="{BOX}" '
            f'height="{high * box.busy:.1f}" rx="4"/>',
            *(
                f'<text class="{kind}" x="{centre}" y="{TOP + SIDE + y}">{escape(text)}</text>'
                for kind, y, text in (
                    ("name", 18, box.name),
                    ("small", 32, " x ".join(map(str, box.size))),
                    ("small", 45, f"{box.lanes} lanes"),
                    ("small", 58, f"{box.busy:.0%} busy"),
                )
            ),
        ]
        if box.shortcut != "-":
            arc = top - 12
            lines.append(f'<path class="shortcut" d="M{x - 6} {middle} V{arc:g} H{x + BOX + 6} V{middle}"/>')
            if box.shortcut:
                lines.append(f'<text class="word" x="{centre}" y="{arc - 4:g}">{escape(box.shortcut)}</text>')
    return "\n".join([*lines, "</svg>", ""])
