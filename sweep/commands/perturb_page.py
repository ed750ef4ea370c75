"""The page that `perturb` leaves: contact sheets and short videos, by category."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

from perturb.catalogue import LADDERS, PERTURBATIONS
from sweep.commands.perturbed_clips import clip_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.commands.contact_sheet import Row

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #181c24; margin: 2rem; max-width: 1800px; }
h1 { font-size: 1.5rem; margin: 0 } h2 { margin: 2.5rem 0 .5rem; text-transform: capitalize }
.soft { color: #68707c } .warn { color: #b03a1e } nav a { margin-right: 1rem }
img { max-width: 100%; border: 1px solid #e2e5ea }
table { border-collapse: collapse; margin: .5rem 0 } td, th { padding: 4px 6px; text-align: left;
  vertical-align: top; font-weight: normal } th { min-width: 150px } video { width: 160px;
  image-rendering: pixelated; background: #f4f5f7 } td div { font-size: 12px; max-width: 160px }
summary { cursor: pointer; margin: .5rem 0 }
"""
_SCRIPT = """
for (const v of document.querySelectorAll("video")) {
  v.onmouseenter = () => v.play(); v.onmouseleave = () => { v.pause(); v.currentTime = 0; };
}
for (const d of document.querySelectorAll("details")) {
  d.ontoggle = () => d.querySelectorAll("video").forEach(v => d.open ? v.play() : v.pause());
}
"""


def page_of(
    subtitle: str,
    note: str,
    ladder: str,
    rows: dict[str, list[Row]],
    sheets: dict[str, Path],
    severities: Sequence[int],
    clips: bool,
) -> str:
    """The page.

    Args:
        subtitle: Where the frames come from and how they were perturbed.
        note: What is odd about the video; "" = nothing.
        ladder: Key of `LADDERS`.
        rows: By category.
        sheets: Contact sheet of every category.
        severities: Those that were asked for.
        clips: Whether there are short videos.
    """
    links = "".join(f'<a href="#{category}">{category}</a>' for category in rows)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Perturbations</title>",
        f"<style>{_STYLE}</style><h1>Perturbations</h1>",
        f"<p class=soft>{html.escape(subtitle)}<br>{html.escape(LADDERS[ladder].meaning)}</p>",
        f"<p class=warn>{html.escape(note)}</p>" if note else "",
        f"<nav>{links}</nav>",
    ]
    for category, members in rows.items():
        picture = f"sheets/{sheets[category].name}"
        parts.append(f"<h2 id={category}>{category}</h2>")
        parts.append(f'<a href="{picture}"><img src="{picture}" alt="{category}"></a>')
        if clips:
            body = "".join(_video_row(row, severities) for row in members)
            parts.append(f"<details><summary>clips</summary><table>{body}</table></details>")
    return "\n".join([*parts, f"<script>{_SCRIPT}</script></html>"])


def _video_row(row: Row, severities: Sequence[int]) -> str:
    known = [s for s in severities if s in PERTURBATIONS[row.name].severities]
    sources = [Path("clips/clean.mp4"), *(clip_name(row.name, s) for s in known)]
    heads = [
        "clean",
        *(f"severity {s}: {c.caption}" for s, c in zip(known, row.tiles[1:], strict=True)),
    ]
    cells = []
    for head, source, tile in zip(heads, sources, row.tiles, strict=True):
        film = f'<video src="{source.as_posix()}" muted loop playsinline preload=none></video>'
        shown = film if tile.frames is not None else ""
        cells.append(
            f"<td>{shown}<div class=soft>{html.escape(head)}<br>{html.escape(tile.note)}</div>"
        )
    return f"<tr><th>{row.name.replace('_', ' ')}{''.join(cells)}"
