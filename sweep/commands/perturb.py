"""Show what every perturbation does to a video: contact sheets, short clips and a page of both."""

from __future__ import annotations

import html
import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from perturb.apply import apply, frame_map, nearest, unavailable
from perturb.catalogue import CATEGORIES, LADDERS, PERTURBATIONS, PerturbSpec
from sweep.commands.contact_sheet import Cell, Row, draw_sheet
from sweep.data.decoding.decode import read_clip
from sweep.data.decoding.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CLIP_RATE_FPS = 8
_CLIP_SIDE_PX = 224


def run(
    video: Path,
    out: Path,
    *,
    names: Sequence[str] | None,
    severities: Sequence[int],
    ladder: str,
    frames: int = 16,
    size: int = 224,
    seed: int = 0,
    clips: bool = True,
) -> int:
    """Write contact sheets, clips and index.html under `out`.

    Args:
        video: Any video file.
        out: Folder, made if it is not there.
        names: Perturbations; None for all.
        severities: Columns besides the clean one.
        ladder: Key of `LADDERS`.
        frames: Frames taken uniformly from the video.
        size: Side of the square frames, px.
        seed: Seed of the perturbations.
        clips: Whether to write a short video per perturbation and severity.

    Returns:
        0, or 2 if the video cannot be read or an option does not exist.
    """
    try:
        specs = _chosen(names, severities, ladder)
        if frames < 1 or size < 16:
            raise ValueError(f"need at least 1 frame of 16 px; got {frames} of {size} px")
        source, info = read_clip(video, frames=frames, size_px=size)
    except DecodeError as error:
        print(f"cannot read the video: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"cannot write to {out}: {error.strerror}", file=sys.stderr)
        return 2
    chosen = f"{frames} of {info['num_frames']} frames"
    if frames > info["num_frames"]:
        chosen = f"{info['num_frames']} frames, repeated to {frames}"
    name = os.fsencode(video.name).decode(errors="replace")  # a name need not be UTF-8
    where = f"{name}: {chosen}, {size} px"
    print(f"{where}, decoded by {info['backend']}")
    if info["note"]:
        print(f"note: {info['note']}")
    studio = _Studio(source, video.name, severities, ladder, seed)
    rows = _make(studio, specs, out, clips=clips)
    damage = "" if info["status"] == "ok" else f" ({info['status']})"
    subtitle = f"{where}{damage}  |  ladder {ladder}  |  seed {seed}"
    sheets = _write_sheets(rows, subtitle, list(severities), out)
    page = out / "index.html"
    content = _page(subtitle, str(info["note"]), ladder, rows, sheets, severities, clips)
    page.write_text(content, encoding="utf-8")
    for path in sheets.values():
        print(f"sheet  {path}")
    if clips:
        print(f"clips  {out / 'clips'}")
    print(f"page   {page}")
    return 0


class _Studio:
    """One clip and how it is perturbed."""

    def __init__(
        self, source: np.ndarray, clip_id: str, severities: Sequence[int], ladder: str, seed: int
    ) -> None:
        self.source = np.ascontiguousarray(source)
        self.clip = torch.from_numpy(self.source).permute(0, 3, 1, 2)[None]
        self.options: dict[str, Any] = {"clip_ids": [clip_id], "seed": seed, "ladder": ladder}
        self.severities = list(severities)
        self.ladder = ladder

    def row(self, spec: PerturbSpec) -> Row:
        """All severities of one perturbation."""
        wanted = [0, *(s for s in self.severities if s in spec.severities)]
        cells = tuple(self._cell(spec, severity) for severity in wanted)
        strip = {"temporal": 4, "camera": 3}.get(spec.category, 3 if spec.moves else 1)
        return Row(spec.name, spec.unit, cells, min(strip, len(self.source)))

    def _cell(self, spec: PerturbSpec, severity: int) -> Cell:
        height, width = self.source.shape[1:3]
        caption = spec.describe(
            severity, self.ladder, short_side_px=min(height, width), frames=len(self.source)
        )
        shown = None
        if spec.temporal:
            table = frame_map(spec.name, severity, len(self.source), **self.options)
            shown = tuple(table[0].tolist())
        try:
            made = apply(self.clip, spec.name, severity, **self.options)
        except (RuntimeError, ValueError) as error:  # no codec, or frames too small for it
            return Cell(None, caption, note=f"skipped: {unavailable(spec.name) or error}")
        frames = made[0].permute(0, 2, 3, 1).numpy()
        if severity == 0:
            return Cell(frames, "", shown)
        if np.array_equal(frames, self.source):
            return Cell(frames, caption, shown, "changes nothing here", is_odd=True)
        note = _distance(frames, self.source) if shown is None else _displacement(shown)
        return Cell(frames, caption, shown, note)


def _displacement(shown: tuple[int, ...]) -> str:
    away = np.mean(np.abs(np.array(shown) - np.arange(len(shown))))
    return f"{len(set(shown))} of {len(shown)} frames shown, {away:.1f} off on average"


def _distance(frames: np.ndarray, source: np.ndarray) -> str:
    error = np.mean((frames.astype(np.float32) - source) ** 2)
    return f"PSNR {10 * np.log10(255**2 / error):.1f} dB"


def _chosen(
    names: Sequence[str] | None, severities: Sequence[int], ladder: str
) -> list[PerturbSpec]:
    if ladder not in LADDERS:
        raise ValueError(f"unknown ladder {ladder!r}{nearest(ladder, LADDERS)}")
    for name in names or ():
        if name not in PERTURBATIONS:
            raise ValueError(f"unknown perturbation {name!r}{nearest(name, PERTURBATIONS)}")
    wrong = [severity for severity in severities if severity not in range(1, 6)]
    if wrong or not severities:
        raise ValueError(f"severities are 1 to 5; got {list(severities)}")
    chosen = set(names or (name for name, spec in PERTURBATIONS.items() if not spec.missing))
    return [spec for spec in PERTURBATIONS.values() if spec.name in chosen]


def _make(
    studio: _Studio, specs: Sequence[PerturbSpec], out: Path, *, clips: bool
) -> dict[str, list[Row]]:
    """Rows by category, in table order; writes the clips on the way."""
    rows: dict[str, list[Row]] = {}
    if clips:
        _write_clip(out / "clips" / "clean.mp4", studio.source)
    for spec in _watched(specs):
        row = studio.row(spec)
        rows.setdefault(spec.category, []).append(row)
        if clips:
            severities = [s for s in studio.severities if s in spec.severities]
            for severity, cell in zip(severities, row.cells[1:], strict=True):
                if cell.frames is not None:
                    _write_clip(out / _clip_name(spec.name, severity), cell.frames)
    return {category: rows[category] for category in CATEGORIES if category in rows}


def _watched(specs: Sequence[PerturbSpec]) -> Iterable[PerturbSpec]:
    """Iterate with a progress bar, or with plain lines where there is no terminal."""
    console = Console()
    if not console.is_terminal:
        for done, spec in enumerate(specs, 1):
            print(f"[{done}/{len(specs)}] {spec.name}", flush=True)
            yield spec
        return
    name = TextColumn("{task.description:<20}")
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(specs))
        for spec in specs:
            progress.update(task, description=spec.name)
            yield spec
            progress.advance(task)


def _write_sheets(
    rows: dict[str, list[Row]], subtitle: str, severities: list[int], out: Path
) -> dict[str, Path]:
    folder = out / "sheets"
    folder.mkdir(exist_ok=True)
    paths = {}
    for category, members in rows.items():
        path = folder / f"{category}.png"
        sheet = draw_sheet(category.capitalize(), subtitle, members, severities=severities)
        sheet.save(path)
        paths[category] = path
    return paths


def _clip_name(name: str, severity: int) -> Path:
    return Path("clips") / name / f"severity_{severity}.mp4"


def _write_clip(path: Path, frames: np.ndarray) -> None:
    """Write frames as a short video that browsers play, small ones enlarged."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    times = max(1, round(_CLIP_SIDE_PX / max(frames.shape[1:3])))
    large = frames.repeat(times, axis=1).repeat(times, axis=2)
    large = large[:, : large.shape[1] // 2 * 2, : large.shape[2] // 2 * 2]
    with av.open(str(path), "w") as video:
        stream: Any = video.add_stream(
            "libx264", Fraction(_CLIP_RATE_FPS), {"crf": "14", "preset": "veryfast"}
        )
        stream.height, stream.width, stream.pix_fmt = *large.shape[1:3], "yuv420p"
        for frame in large:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            video.mux(stream.encode(picture))
        video.mux(stream.encode(None))


# ----------------------------------------------------------------------------------------- page
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


def _page(
    subtitle: str,
    note: str,
    ladder: str,
    rows: dict[str, list[Row]],
    sheets: dict[str, Path],
    severities: Sequence[int],
    clips: bool,
) -> str:
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
    sources = [Path("clips/clean.mp4"), *(_clip_name(row.name, s) for s in known)]
    heads = [
        "clean",
        *(f"severity {s}: {c.caption}" for s, c in zip(known, row.cells[1:], strict=True)),
    ]
    cells = []
    for head, source, cell in zip(heads, sources, row.cells, strict=True):
        film = f'<video src="{source.as_posix()}" muted loop playsinline preload=none></video>'
        shown = film if cell.frames is not None else ""
        cells.append(
            f"<td>{shown}<div class=soft>{html.escape(head)}<br>{html.escape(cell.note)}</div>"
        )
    return f"<tr><th>{row.name.replace('_', ' ')}{''.join(cells)}"
