"""Pieces of `abbnn report page`: tables, bars, histograms and pictures as HTML that needs nothing from outside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abbnn.golden.ops import Integers

GREATEST_SHADE = 60
"""Percent of the accent colour in the darkest cell: the number on it stays readable."""
LEVELS = 15
"""Shades of either sign in the picture of a map; with zero they fit the 5 bits that compress well."""
MINUS, PLUS = (33, 102, 172), (214, 84, 43)


class Markup(str):
    """Text that is HTML already; any other is escaped."""


def html(text: object) -> str:
    return text if isinstance(text, Markup) else escape(str(text))


def element(tag: str, content: object, **attributes: str) -> Markup:
    """An attribute whose name is a word of Python has a `_` behind it."""
    words = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(text)}"' for name, text in attributes.items())
    return Markup(f"<{tag}{words}>{html(content)}</{tag}>")


def joined(parts: Sequence[str], by: str = "\n") -> Markup:
    return Markup(by.join(html(part) for part in parts))


def table(
    caption: str,
    columns: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    texts: Sequence[int] = (),
    kind: str = "",
) -> Markup:
    """The first cell of a row is its heading; `texts` are further columns that are no numbers. A wide table scrolls."""

    def cell(index: int, content: object) -> Markup:
        if isinstance(content, Markup) and content.startswith("<td"):
            return content
        if index == 0:
            return element("th", content, scope="row")
        return element("td", content, **({"class_": "text"} if index in texts else {}))

    head = joined(
        [
            element("th", name, scope="col", **({"class_": "text"} if index in texts else {}))
            for index, name in enumerate(columns)
        ],
        "",
    )
    body = joined(
        [element("tr", joined([cell(index, each) for index, each in enumerate(row)], "")) for row in rows], "\n"
    )
    parts = [element("caption", caption), element("thead", element("tr", head)), element("tbody", body)]
    inner = element("table", joined(parts), **({"class_": kind} if kind else {}))
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def shaded(count: int, most: int) -> Markup:
    """A cell the darker the nearer `count` is to `most`."""
    share = GREATEST_SHADE * count / most if most else 0
    return element("td", count, style=f"background: color-mix(in srgb, var(--accent) {share:.0f}%, transparent)")


def facts(pairs: Sequence[tuple[str, object]], wide: Sequence[str] = ()) -> Markup:
    """A list of terms; those named in `wide` have a row of their own."""
    return element(
        "dl",
        joined(
            [
                element("div", joined([element("dt", name), element("dd", what)], ""), **_wide(name in wide))
                for name, what in pairs
            ]
        ),
    )


def _wide(yes: bool) -> dict[str, str]:
    return {"class_": "wide"} if yes else {}


def bar(*spans: tuple[str, float, float], zero: bool = False) -> Markup:
    """Spans (class, begin, end) of 0 to 1 on a track. Only a picture of numbers that stand beside it."""
    rectangles = [
        f'<rect class="{kind}" x="{100 * begin:.2f}" y="{0 if kind == "proven" else 2}" '
        f'width="{max(0.6, 100 * (end - begin)):.2f}" height="{10 if kind == "proven" else 6}"></rect>'
        for kind, begin, end in spans
    ]
    if zero:
        rectangles.append('<rect class="zero" x="49.8" y="0" width="0.4" height="10"></rect>')
    inner = "".join(rectangles)
    return Markup(f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{inner}</svg>')


def histogram(title: str, counts: Mapping[int, int]) -> Markup:
    """A row a power of two from the smallest that occurs to the greatest."""
    rows = range(min(counts), max(counts) + 1)
    most = max(counts.values())
    said = ", ".join(f"2 to the {power}: {counts.get(power, 0)}" for power in rows)
    parts = []
    for index, power in enumerate(rows):
        count, y = counts.get(power, 0), 18 * index
        width = 220 * count / most
        parts += [
            f'<text x="36" y="{y + 13}" text-anchor="end">2<tspan dy="-4" font-size="8">{_minus(power)}</tspan></text>',
            f'<rect x="42" y="{y + 3}" width="{width:.1f}" height="12" rx="1"></rect>',
            f'<text x="{46 + width:.1f}" y="{y + 13}">{count:,}</text>',
        ]
    picture = Markup(
        f'<svg class="histogram" viewBox="0 0 320 {18 * len(rows) + 4}" role="img" '
        f'aria-label="{escape(f"{title}: {said}")}">{"".join(parts)}</svg>'
    )
    return element("figure", joined([element("figcaption", title), picture]))


def _minus(number: int) -> str:
    return str(number).replace("-", "\N{MINUS SIGN}")


def picture(data: bytes, kind: str, alt: str) -> Markup:
    """An image of bytes of the media type `kind`."""
    code = base64.b64encode(data).decode("ascii")
    return Markup(f'<img src="data:{kind};base64,{code}" alt="{escape(alt)}">')


def png(pixels: NDArray[np.uint8], alt: str) -> Markup:
    """An (H, W, 3) image."""
    return _png(Image.fromarray(pixels), alt)


def maps(values: Integers, alt: str) -> Markup:
    """The channels of (H, W, C) side by side: negative values blue, positive orange, the clearer the nearer to 0."""
    height, width, channels = values.shape
    most = max(1, int(np.abs(values).max()))
    level = np.rint(values * (LEVELS / most)).astype(np.int64) + LEVELS
    strip = np.full((height, channels * (width + 1) - 1), LEVELS, np.uint8)
    for channel in range(channels):
        strip[:, channel * (width + 1) : channel * (width + 1) + width] = level[..., channel]
    image = Image.fromarray(strip, "P")
    colours = [MINUS] * LEVELS + [(255, 255, 255)] + [PLUS] * LEVELS
    image.putpalette([part for colour in colours for part in colour])
    opacity = bytes(round(255 * abs(index - LEVELS) / LEVELS) for index in range(2 * LEVELS + 1))
    return _png(image, alt, transparency=opacity)


def _png(image: Image.Image, alt: str, **options: bytes) -> Markup:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **options)
    return picture(file.getvalue(), "image/png", alt)
