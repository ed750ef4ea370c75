"""Is what lies on disk still what was made, and is it right?

Three questions, of which none is answered by asking the same thing twice. Are the files those that
the index saw (their bytes are read again)? Does a sample of the stored clips decode to the same
bytes again? And do the stored frames show what the *other* library sees at those places?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweep.data.catalogue import find
from sweep.data.decoding import cache, pool
from sweep.data.decoding import index as indexing
from sweep.data.motes import make as motes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweep.data.decoding.file_info import FileInfo
    from sweep.data.survey import StoredSet, Survey
    from sweep.settings.data import DataSettings

_SHARE, _AT_LEAST = 0.01, 8
#: Mean difference in grey levels above which two libraries show other frames. Conversions of odd
#: sizes differ by .5 on average, those of 10 and 12 bits by 3.2; neighbouring frames of a clip in
#: which something moves by more.
_OTHER_FRAME, _OTHER_FRAME_DEEP = 3.0, 8.0

Opinion = Literal["agrees", "disagrees", "none"]


@dataclass(frozen=True)
class Verdict:
    """What a check of the stores found.

    Attributes:
        compared: Clips decoded again.
        different: `set/id` of clips whose stored bytes differ, or that failed, and why.
        agreed: Clips of which the other library shows the stored frames.
        disputed: `set/id` of clips that decode to the stored bytes, but to other frames by decord,
            which is known to be wrong on some files.
        unheard: `set/id` of clips that the other library cannot read, and why.
        files_checked: Files that were read again.
        files_changed: Their paths where the content is not what it was.
    """

    compared: int
    different: tuple[str, ...]
    agreed: int
    disputed: tuple[str, ...]
    unheard: tuple[str, ...]
    files_checked: int
    files_changed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything is as it was made; a dispute alone is no failure."""
        return not self.different and not self.files_changed


@dataclass(frozen=True)
class _Finding:
    """What a clip's second decode and second opinion came to."""

    fault: str = ""
    opinion: Opinion = "none"
    words: str = ""


def verify(
    options: DataSettings,
    survey: Survey,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Verdict:
    """Read all files again, and decode 1 % of the stored clips (8 at least) by both libraries.

    Args:
        options: Which data.
        survey: Of the same options; all of its sets are stored.
        progress: Called with (`reread` or `verify`, done, in all).
    """
    clips = [(one, row) for one in survey.stored for row in range(len(one.records))]
    count = min(len(clips), max(_AT_LEAST, round(_SHARE * len(clips))))
    sample = [clips[(2 * i + 1) * len(clips) // (2 * count)] for i in range(count)]
    checked, changed = _changed_files(options, survey, progress)
    findings = pool.run(
        _look,
        [_job(one, row, options) for one, row in sample],
        workers=options.workers,
        silence_s=indexing.SILENCE_S,
        on_result=_counter(progress, "verify", count),
    )
    different, disputed, unheard = [], [], []
    agreed = 0
    for (one, row), finding in zip(sample, findings, strict=True):
        name = f"{one.name}/{one.records[row].id}"
        if isinstance(finding, pool.Failure):
            different.append(f"{name}: {finding.message}")
        elif finding.fault:
            different.append(f"{name}: {finding.fault}")
        elif finding.opinion == "disagrees":
            disputed.append(f"{name}: {finding.words}")
        elif finding.opinion == "none":
            unheard.append(f"{name}: {finding.words}")
        else:
            agreed += 1
    return Verdict(
        compared=count,
        different=tuple(different),
        agreed=agreed,
        disputed=tuple(disputed),
        unheard=tuple(unheard),
        files_checked=checked,
        files_changed=tuple(changed),
    )


def _counter(
    progress: Callable[[str, int, int], None] | None, stage: str, total: int
) -> Callable[[int, object], None]:
    done = 0

    def count(place: int, result: object) -> None:
        nonlocal done
        del place, result
        done += 1
        if progress is not None:
            progress(stage, done, total)

    return count


def _changed_files(
    options: DataSettings,
    survey: Survey,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[int, list[str]]:
    """Number of files read again, and those whose content is not what the index saw.

    Size and modification time say nothing here: whoever repairs a file may keep both. Embedded data
    are held against their manifest as well.
    """
    index = indexing.load(options, survey.sets.root)
    used = {r.path for one in survey.stored for r in one.records if r.path is not None}
    paths = sorted(used)
    digests = pool.run(
        indexing.digest_of,
        paths,
        workers=options.workers,
        silence_s=indexing.SILENCE_S,
        on_result=_counter(progress, "reread", len(paths)),
    )
    changed = {
        index.name(path)
        for path, digest in zip(paths, digests, strict=True)
        if digest != index.files[index.name(path)].digest
    }
    if find(options.dataset).embedded:
        changed |= set(motes.changed_files(survey.sets.root))
    return len(paths), sorted(changed)


_Job = tuple["Path", "FileInfo", range, "Path", int, int, int]


def _job(one: StoredSet, row: int, options: DataSettings) -> _Job:
    path = one.records[row].path
    assert path is not None
    stored = one.folder / cache.FRAMES
    about = one.files[row], one.spans[row]
    return path, *about, stored, row, options.cache_frames, options.size_px


def _look(job: _Job) -> _Finding:
    from sweep.data.decoding.probe import probe_file

    path, info, span, store, row, frames, size_px = job
    indexing.silence()
    now = probe_file(path)
    if (now.num_frames, now.pictures) != (info.num_frames, info.pictures):
        return _Finding(
            "decodes to other pictures than when it was looked at "
            f"({info.num_frames} frames then, {now.num_frames} now)"
        )
    stored = np.load(store, mmap_mode="r")[row]
    again = cache.decode_clip(path, info, frames=frames, size_px=size_px, span=span)
    if not np.array_equal(stored, again):
        gap = np.abs(stored.astype(int) - again).mean(axis=(1, 2, 3))
        return _Finding(
            f"{int((gap > 0).sum())} of {frames} stored frames have other bytes "
            f"(mean difference up to {gap.max():.2g} of 255)"
        )
    opinion, words = _second_opinion(path, info, cache.chosen(span, frames), stored)
    if opinion == "disagrees" and info.backend == "decord":
        return _Finding(f"PyAV shows other frames: {words}")
    return _Finding(opinion=opinion, words=words)


def _second_opinion(
    path: Path, info: FileInfo, wanted: np.ndarray, stored: np.ndarray
) -> tuple[Opinion, str]:
    """What the library that did not read this file says of its stored frames."""
    from sweep.data.decoding import by_decord, decode

    if info.backend == "images":
        return "none", "images, which one library reads"
    other = "pyav" if info.backend == "decord" else "decord"
    if other == "decord":
        why = by_decord.why_not(path, info)
        if why:
            return "none", why
    shown = decode.read_frames(
        path, wanted, info=replace(info, backend=other), size_px=stored.shape[-1]
    )
    gap = np.abs(stored.astype(int) - shown.transpose(0, 3, 1, 2)).mean(axis=(1, 2, 3))
    limit = _OTHER_FRAME_DEEP if info.is_deep else _OTHER_FRAME
    others = np.flatnonzero(gap > limit)
    if len(others):
        first = int(others[0])
        return "disagrees", (
            f"{other} shows {len(others)} of {len(stored)} frames differently, first frame "
            f"{wanted[first]} (mean difference {gap[first]:.2g} of 255)"
        )
    return "agrees", ""
