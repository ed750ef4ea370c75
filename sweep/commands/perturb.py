"""Show what every perturbation does to a video: contact sheets, short clips and a page of both."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from perturb.apply import nearest
from perturb.catalogue import CATEGORIES, LADDERS, PERTURBATIONS, PerturbSpec
from sweep.commands.contact_sheet import draw_sheet
from sweep.commands.perturb_page import page_of
from sweep.commands.perturbed_clips import Studio, clip_name, write_clip
from sweep.data.decoding.decode import read_clip
from sweep.data.decoding.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from sweep.commands.contact_sheet import Row


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
        source, info = _read(video, frames, size)
        _make_folder(out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    where = _described(video, info, frames=frames, size=size)
    print(f"{where}, decoded by {info['backend']}")
    if info["note"]:
        print(f"note: {info['note']}")
    studio = Studio(source, video.name, severities, ladder, seed)
    rows = _make(studio, specs, out, clips=clips)
    damage = "" if info["status"] == "ok" else f" ({info['status']})"
    subtitle = f"{where}{damage}  |  ladder {ladder}  |  seed {seed}"
    sheets = _write_sheets(rows, subtitle, list(severities), out)
    page = out / "index.html"
    content = page_of(subtitle, str(info["note"]), ladder, rows, sheets, severities, clips)
    page.write_text(content, encoding="utf-8")
    for path in sheets.values():
        print(f"sheet  {path}")
    if clips:
        print(f"clips  {out / 'clips'}")
    print(f"page   {page}")
    return 0


def _read(video: Path, frames: int, size: int) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Frames of the video, and what decoding says of it.

    Raises:
        ValueError: It cannot be read, or not so.
    """
    if frames < 1 or size < 16:
        raise ValueError(f"need at least 1 frame of 16 px; got {frames} of {size} px")
    try:
        return read_clip(video, frames=frames, size_px=size)
    except DecodeError as error:
        raise ValueError(f"cannot read the video: {error}") from error


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {out}: {error.strerror}") from error


def _described(video: Path, info: Mapping[str, Any], *, frames: int, size: int) -> str:
    """Where the frames come from."""
    chosen = f"{frames} of {info['num_frames']} frames"
    if frames > info["num_frames"]:
        chosen = f"{info['num_frames']} frames, repeated to {frames}"
    name = os.fsencode(video.name).decode(errors="replace")  # a name need not be UTF-8
    return f"{name}: {chosen}, {size} px"


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
    studio: Studio, specs: Sequence[PerturbSpec], out: Path, *, clips: bool
) -> dict[str, list[Row]]:
    """Rows by category, in table order; writes the clips on the way."""
    rows: dict[str, list[Row]] = {}
    if clips:
        write_clip(out / "clips" / "clean.mp4", studio.source)
    for spec in _watched(specs):
        row = studio.row(spec)
        rows.setdefault(spec.category, []).append(row)
        if clips:
            severities = [s for s in studio.severities if s in spec.severities]
            for severity, tile in zip(severities, row.tiles[1:], strict=True):
                if tile.frames is not None:
                    write_clip(out / clip_name(spec.name, severity), tile.frames)
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
