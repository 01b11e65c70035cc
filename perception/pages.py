"""Self-contained HTML pages: plots and tables embedded in one file, every word from outside escaped.

What is on a page is its maker's business; nothing is measured here.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence

import cv2
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from envs.geometry import Array

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
table { display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child, td.text { text-align: left; }
img, video { max-width: 100%; background: #fff; border-radius: 4px; }
.note { color: #888; font-size: 13px; }
"""


def figure(draw: Callable[[Sequence[Axes]], None], columns: int) -> str:
    """An <img> with a plot embedded; `draw` gets its axes from left to right."""
    plot = Figure(figsize=(11, 3.6), dpi=110, layout="constrained")
    axes = plot.subplots(1, columns, squeeze=False)[0]
    draw(axes)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    return embedded(plot)


def embedded(plot: Figure) -> str:
    """An <img> with a finished plot."""
    data = io.BytesIO()
    plot.savefig(data, format="png")
    return image(data.getvalue(), "plot")


def image(png: bytes, words: str) -> str:
    """An <img> with PNG data embedded; `words` say what it shows."""
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def picture(pixels: Array, words: str) -> str:
    """An <img> of RGB pixels uint8 (H, W, 3)."""
    return image(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes(), words)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A <table> of words."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page(title: str, parts: Sequence[str]) -> str:
    """The whole document; `parts` are HTML already."""
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>")
