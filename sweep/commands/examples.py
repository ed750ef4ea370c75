"""Keep a few frames of the clips of a sweep, clean and perturbed, so that its folder shows them."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from sweep.commands.contact_sheet import strip_times
from sweep.engine.folder import read_study
from sweep.records.condition import Condition
from sweep.records.examples import FOLDER, Example, has_examples, write_examples
from sweep.records.files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sweep.data.prepare import ClipSet, Prepared
    from sweep.settings.study import StudyConfig

log = logging.getLogger(__name__)

#: Clean clips that are shown, one per class.
CLIPS = 4
#: Frames of a strip.
FRAMES = 4
#: Widest frame of a strip, px.
WIDEST_PX = 112
#: All pictures together; as text in a page they take a third more.
MOST_BYTES = 200_000
#: Tried until they fit.
QUALITIES = (80, 60, 40, 20)


def keep_examples(sweep: Path) -> None:
    """Write `examples/` of a sweep, unless it is there or the clips are not on this machine.

    Nothing is made, indexed or decoded for it. A failure is no failure of the report.
    """
    if has_examples(sweep):
        return
    try:
        study = read_study(sweep)
        data = (read_json(sweep / "plan.json") or {}).get("data") or {}
        from sweep.data.prepare import stored

        prepared = stored(study.data)
        if prepared is None or prepared.fingerprint != data.get("fingerprint"):
            log.debug("%s: the clips of the sweep are not here: no example frames", sweep)
            return
        _write(sweep, strips(study, prepared))
    except Exception as error:  # noqa: BLE001 - pictures beside a report, whatever goes wrong
        log.warning("no example frames: %s: %s", type(error).__name__, error)


def strips(study: StudyConfig, prepared: Prepared) -> list[tuple[Example, np.ndarray]]:
    """Clean clips, one of every shifted set, and the first clip under each perturbation.

    Returns:
        Example (without its file) and uint8 (k, H, W, 3): the strongest severity that is tested.
    """
    from models.catalogue import clip_of
    from sweep.evaluation.bench import TestBench, level, runnable
    from sweep.evaluation.conditions import TestPlan
    from sweep.tasks.catalogue import task_of

    frames = clip_of(
        study.model.name, weights=study.model.weights, frames=study.model.knobs.get("frames")
    ).frames
    shifts = [name for name in prepared.evaluation if name != "clean"]
    sides = task_of(study.evaluate, study.primary).sides
    # one clip is tested here, whole, whatever the fidelity of the sweep
    alone = {"fidelity": "full", "clips_per_cell": None, "keep_perturbed": False}
    settings = study.evaluate.model_copy(update=alone)
    plan = TestPlan.of(settings, shifts, sides, 1)

    def strip(condition: Condition, row: int) -> tuple[Example, np.ndarray]:
        whole = prepared.evaluation[condition.clips]
        clip = whole.part(np.array([row]))
        one = replace(prepared, evaluation=MappingProxyType({condition.clips: clip}))
        bench = TestBench(one, plan, frames=frames)
        made = bench.clips(condition).frames[0].transpose(0, 2, 3, 1)
        times = strip_times(len(made), min(FRAMES, len(made)))
        shown = bench.shown(condition) if condition.perturbation else None
        example = Example(
            file="",
            condition=condition.name,
            category=condition.category,
            clip=clip.ids[0],
            label=_label(prepared, clip),
            level=level(condition, bench),
            frames=tuple(times),
            of=len(made),
            shown=() if shown is None else tuple(int(shown[0][t]) for t in times),
            stored=clip.source.shape[1],
        )
        return example, made[times]

    rows, _ = runnable(plan.rows)
    clean = prepared.evaluation["clean"]
    chosen = _of_different_classes(clean)
    found = [strip(Condition.named(), row) for row in chosen]
    first = clean.labels[chosen[0]]
    for row in rows:
        if row.clips != "clean":
            same = np.flatnonzero(prepared.evaluation[row.clips].labels == first)
            found.append(strip(row, int(same[0]) if len(same) else 0))
    return found + [strip(row, chosen[0]) for row in _strongest(rows)]


def _strongest(rows: Iterable[Condition]) -> list[Condition]:
    """The highest severity of every perturbation of videos, in the order of evaluation."""
    found: dict[str, Condition] = {}
    for row in rows:
        before = found.get(row.perturbation)
        if row.perturbation and not row.text and (before is None or row.severity > before.severity):
            found[row.perturbation] = row
    return list(found.values())


def _of_different_classes(clips: ClipSet) -> list[int]:
    """Rows of the first clips of the first classes; where there are none, of the first clips."""
    _, rows = np.unique(clips.labels, return_index=True)
    rows = np.sort(rows) if len(rows) > 1 else np.arange(len(clips.ids))
    return [int(row) for row in rows[:CLIPS]]


def _label(prepared: Prepared, clip: ClipSet) -> str:
    if prepared.class_names:
        return prepared.class_names[int(clip.labels[0])]
    return clip.captions[0][0] if clip.captions and clip.captions[0] else ""


def _write(sweep: Path, rows: list[tuple[Example, np.ndarray]]) -> None:
    """All pictures at the best quality at which they are small together."""
    pictures: list[bytes] = []
    for quality in QUALITIES:
        pictures = [_picture(frames, quality) for _, frames in rows]
        if sum(map(len, pictures)) <= MOST_BYTES:
            break
    folder = sweep / FOLDER
    folder.mkdir(exist_ok=True)
    written = []
    for number, ((example, _), content) in enumerate(zip(rows, pictures, strict=True)):
        name = f"{number:02d}-{example.condition.replace('/', '-')}.webp"
        (folder / name).write_bytes(content)
        written.append(replace(example, file=name))
    write_examples(sweep, written)


def _picture(frames: np.ndarray, quality: int) -> bytes:
    """Frames side by side as WebP, large ones made smaller."""
    from PIL import Image

    gap = 2
    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    if pictures[0].width > WIDEST_PX:
        size = WIDEST_PX, round(pictures[0].height * WIDEST_PX / pictures[0].width)
        pictures = [picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (len(pictures) * (width + gap) - gap, height), (255, 255, 255))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place * (width + gap), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()
