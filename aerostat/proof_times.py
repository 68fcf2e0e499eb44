"""The time that each function's proof took, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

ROW: Final = 16
NAMES: Final = 190
BARS: Final = 560
FIGURES: Final = 70


def chart(seconds: Mapping[str, float]) -> str:
    """An SVG of horizontal bars, in this order: processor seconds by function."""
    longest = max([*seconds.values(), 0.001])
    height = ROW * (len(seconds) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{NAMES + BARS + FIGURES}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        "<title>Seconds to prove each function</title><rect width='100%' height='100%' fill='white'/>",
        f'<text x="8" y="{ROW}" font-weight="bold">Processor seconds to prove each function '
        f"({sum(seconds.values()):.1f} s in all)</text>",
    ]
    for n, (name, took) in enumerate(seconds.items()):
        y = ROW * (n + 2)
        parts.append(f'<text x="{NAMES - 6}" y="{y}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{NAMES}" y="{y - 10}" width="{BARS * took / longest:.1f}" height="{ROW - 4}" fill="#4a7ab0"/>'
        )
        parts.append(f'<text x="{NAMES + BARS * took / longest + 4:.1f}" y="{y}">{took:.2f}</text>')
    return "\n".join([*parts, "</svg>", ""])


__all__ = ["chart"]
