"""Is what lies on disk still what was made? Sampled clips are decoded again and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.data.catalogue import find
from sweep.data.decoding import cache, pool
from sweep.data.decoding.index import limit_s
from sweep.data.motes import make as motes
from sweep.data.motes.knobs import knobs_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweep.data.decoding.file_info import FileInfo
    from sweep.data.survey import StoredSet, Survey
    from sweep.settings.data import DataSettings

_SHARE, _AT_LEAST = 0.01, 8


@dataclass(frozen=True)
class Verdict:
    """What a check of the stores found.

    Attributes:
        compared: Clips decoded again.
        different: `set/id` of clips whose stored bytes differ, or that failed, and why.
        files_checked: Embedded videos whose sha256 was compared with the manifest.
        files_changed: Their paths where it differs.
    """

    compared: int
    different: tuple[str, ...]
    files_checked: int
    files_changed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything is as it was made."""
        return not self.different and not self.files_changed


def verify(
    options: DataSettings,
    survey: Survey,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Decode 1 % of the stored clips (8 at least) again; check the files of embedded data.

    Args:
        options: Which data.
        survey: Of the same options; all of its sets are stored.
        progress: Called with (clips done, clips to compare).
    """
    clips = [(one, row) for one in survey.stored for row in range(len(one.records))]
    count = min(len(clips), max(_AT_LEAST, round(_SHARE * len(clips))))
    sample = [clips[(2 * i + 1) * len(clips) // (2 * count)] for i in range(count)]
    different: list[str] = []
    done = 0

    def enter(place: int, result: bool | pool.Failure) -> None:
        nonlocal done
        done += 1
        one, row = sample[place]
        if result is not True:
            why = result.message if isinstance(result, pool.Failure) else "other bytes"
            different.append(f"{one.name}/{one.records[row].id}: {why}")
        if progress is not None:
            progress(done, count)

    jobs = [_job(one, row, options) for one, row in sample]
    limits = [limit_s(job[0]) for job in jobs]
    pool.run(_is_same, jobs, workers=options.workers, limits_s=limits, on_result=enter)
    is_ours = find(options.dataset).embedded
    return Verdict(
        compared=count,
        different=tuple(different),
        files_checked=knobs_of(options).clips if is_ours else 0,
        files_changed=tuple(motes.changed_files(survey.sets.root)) if is_ours else (),
    )


def _job(
    one: StoredSet, row: int, options: DataSettings
) -> tuple[Path, FileInfo, Path, int, int, int, bool]:
    path = one.records[row].path
    assert path is not None
    stored, frames, side = one.folder / cache.FRAMES, options.cache_frames, options.size_px
    return path, one.files[row], stored, row, frames, side, options.workers == 0


def _is_same(job: tuple[Path, FileInfo, Path, int, int, int, bool]) -> bool:
    path, info, stored, row, frames, size_px, torch_first = job
    again = cache.decode_clip(path, info, frames=frames, size_px=size_px, torch_first=torch_first)
    return np.array_equal(np.load(stored, mmap_mode="r")[row], again)
