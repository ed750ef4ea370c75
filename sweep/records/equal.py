"""Conditions under which models see the same frames again, and what of them an outcome counts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from models.catalogue import MODELS, clip_of
from models.clip_format import centres
from models.weights import RANDOM
from perturb.catalogue import LADDERS, PROFILES, ladder_of
from perturb.sameness import Same, same_frames
from sweep.records.condition import CLEAN, Condition
from sweep.settings.data import DataSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweep.records.record import TrialRecord


def equal_conditions(
    rows: Iterable[Condition], *, ladder: str, stored: int, frames: int, side_px: int
) -> dict[str, Same]:
    """Conditions that equal clean or an earlier one, by name, whatever the clips are.

    Args:
        rows: What is tested, in order.
        ladder: Severity table.
        stored: Frames stored per clip.
        frames: Frames that the model sees.
        side_px: Side of the frames.
    """
    rows = list(rows)
    videos = [row for row in rows if row.perturbation and not row.text]
    found = same_frames(
        [(row.perturbation, row.severity) for row in videos],
        ladder=ladder,
        stored=stored,
        shown=centres(stored, frames),
        side_px=side_px,
    )
    controls = [row.name for row in rows if row.is_control]
    for name in controls:  # no part of a mean, so that another draw of a strength says nothing
        if name in found and found[name].draws:
            del found[name]
    names = {row.name for row in rows}
    for row in rows:  # a pair whose video is another's is the pair of that one
        same = found.get(row.of_video.name) if row.text and row.perturbation else None
        if same is None:
            continue
        video = Condition.parse(same.other)
        if video.perturbation:
            other = Condition.named(
                perturbation=video.perturbation,
                severity=video.severity,
                text=row.text,
                text_severity=row.text_severity,
            )
        else:
            other = row.of_text
        if other.name in names:
            found[row.name] = Same(other.name, same.why, same.draws)
    return found


def equal_by_settings(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, Same]:
    """What settings alone tell of conditions, before anything has run.

    Args:
        names: Of the conditions, in the order of the test.
        config: Plain data of a study or of a trial of any age.
    """
    return dict(_by_settings(tuple(names), *_circumstances(config)))


def equal_in(record: TrialRecord) -> dict[str, Same]:
    """The same of a record of any age, and the conditions whose pixels were equal, clip by clip."""
    found = equal_by_settings((score.condition for score in record.scores), record.config)
    known = exact(found)
    first: dict[tuple[str, str], str] = {}
    for score in record.scores:
        name, mark = score.condition, (score.clip_set, score.pixels)
        if score.pixels and name not in known and (other := first.setdefault(mark, name)) != name:
            found[name] = Same(other, "equal pixels of all clips")
    return found


def exact(same: Mapping[str, Same]) -> dict[str, str]:
    """Condition -> the one whose frames it shows; without those that were drawn anew."""
    return {name: one.other for name, one in same.items() if not one.draws}


def counted(conditions: Iterable[str], same: Mapping[str, str]) -> list[str]:
    """What of some conditions a mean takes: equal frames once, those of clean not beside others.

    Args:
        conditions: Names, perhaps with a metric before them (`t2v_R5:clean`).
        same: See ``exact``.
    """
    kept: dict[tuple[str, str], str] = {}
    for name in conditions:
        metric, _, condition = name.rpartition(":")
        shown = same.get(condition, condition)
        if (metric, shown) not in kept or condition == shown:
            kept[metric, shown] = name
    others = [name for (_, shown), name in kept.items() if not _is_clean(shown, name)]
    return others or list(kept.values())


def _is_clean(shown: str, name: str) -> bool:
    """Whether a perturbation shows the clean clips; they themselves are asked for as such."""
    return shown == CLEAN and name.rpartition(":")[2] != CLEAN


def in_words(same: Mapping[str, Same]) -> list[str]:
    """`box_jumbling/4 = clean (segments of 25 frames; of 24 stored frames 8 are shown)`."""
    return [
        f"{name} {'~' if one.draws else '='} {one.other} ({one.why})" for name, one in same.items()
    ]


def _circumstances(config: Mapping[str, Any]) -> tuple[str, int, int, int]:
    """Severity table, stored and shown frames and side, from the settings of a record."""
    data, model, evaluate = (_section(config, name) for name in ("data", "model", "evaluate"))
    fields = DataSettings.model_fields
    stored = _count(data.get("cache_frames"), fields["cache_frames"].default)
    side = _count(data.get("size_px"), fields["size_px"].default)
    profile, table = evaluate.get("profile"), evaluate.get("ladder")
    frames = _section(model, "knobs").get("frames")
    if frames is None and model.get("name"):
        name = str(model["name"])
        try:
            frames = clip_of(name, weights=model.get("weights", RANDOM)).frames
        except (OSError, ValueError):  # a file or folder of the machine where the record was made
            frames = MODELS[name].clip.frames if name in MODELS else None
    ladder = ladder_of(profile if profile in PROFILES else None, table)
    return ladder, stored, _count(frames, stored), side


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _count(value: Any, default: int) -> int:
    """A number of frames or pixels; the default for what was refused or damaged elsewhere."""
    return value if isinstance(value, int) and value > 0 else default


@lru_cache(maxsize=64)
def _by_settings(
    names: tuple[str, ...], ladder: str, stored: int, frames: int, side_px: int
) -> Mapping[str, Same]:
    if ladder not in LADDERS:  # of a later program
        return {}
    rows = map(Condition.parse, names)
    return equal_conditions(rows, ladder=ladder, stored=stored, frames=frames, side_px=side_px)
