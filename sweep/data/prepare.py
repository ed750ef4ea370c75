"""From settings to arrays: the one entry point to the data of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.data.catalogue import find
from sweep.data.decoding import cache
from sweep.data.decoding import index as indexing
from sweep.data.folders import cache_of, root_of
from sweep.data.motes.knobs import knobs_of
from sweep.data.sources import ClipSource, StoredClips, StreamedClips
from sweep.data.survey import (
    StoredSet,
    Survey,
    assess,
    check,
    check_overlap,
    read_sets,
    write_excluded,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sweep.settings.data import DataSettings

#: Called with the name of a stage (`make`, `index`, `decode`), items done and items in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ClipSet:
    """The clips of one set, row by row.

    Attributes:
        name: `train`, `validation`, `clean` or the name of a shift.
        source: Frames of the clips.
        labels: int64 (N,), class indices of the training set.
        ids: Names of the clips in the annotation.
        captions: Sentences on every clip, none for data without text.
        groups: Recording of every clip.
        meta: What else the annotation says of every clip.
    """

    name: str
    source: ClipSource
    labels: np.ndarray
    ids: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    meta: tuple[Mapping[str, Any], ...]

    def part(self, rows: np.ndarray) -> ClipSet:
        """Some of the clips, in this order."""
        kept = [int(row) for row in rows]
        return replace(
            self,
            source=self.source.part(np.asarray(rows)),
            labels=self.labels[rows],
            ids=tuple(self.ids[row] for row in kept),
            captions=tuple(self.captions[row] for row in kept),
            groups=tuple(self.groups[row] for row in kept),
            meta=tuple(self.meta[row] for row in kept),
        )


@dataclass(frozen=True)
class Prepared:
    """A data set, ready for trials.

    Attributes:
        train: Training clips.
        validation: Clips to choose by, which are neither trained nor tested on; None = there are
            none.
        evaluation: `clean`, then each shift, by name.
        class_names: By label; those of the training set.
        flip_map: Label after a horizontal flip.
        counts: Of every set: `n_total, n_used, n_excluded, n_missing, n_corrupt, n_partial`, and
            `n_timeout`, `n_refused` and `n_shared_ids|groups|bytes` where there are any;
            `n_fallback` of older records is 0.
        excluded: `split`, `id` and `reason` of every item that is left out.
        fingerprint: Sixteen hex digits over names, labels, captions and stored bytes: equal
            fingerprints give equal numbers.
        dataset: Its name.
        cache_dir: Folder of the caches.
        labelled: bool (N_train,): clips whose label may be used.
    """

    train: ClipSet
    validation: ClipSet | None
    evaluation: Mapping[str, ClipSet]
    class_names: tuple[str, ...]
    flip_map: Mapping[int, int]
    counts: Mapping[str, Mapping[str, int]]
    excluded: tuple[Mapping[str, str], ...]
    fingerprint: str
    dataset: str
    cache_dir: Path
    labelled: np.ndarray

    @property
    def for_choosing(self) -> Prepared:
        """The same data with the validation clips in the place of all tests, where there are any.

        What stops trials early tests on this, so that it never sees a clip that is reported.
        """
        if self.validation is None:
            return self
        return replace(
            self,
            evaluation=MappingProxyType({"clean": self.validation}),
            fingerprint=f"{self.fingerprint}-validation",  # names the stores of tested clips
        )


def prepare(settings: DataSettings, *, progress: Progress | None = None) -> Prepared:
    """Make, index and decode what is missing, and open the arrays.

    Processes that want the same data wait for one another; a second call reads text files only.

    Args:
        settings: Which data and how stored.
        progress: Called from time to time during each stage that has work.

    Raises:
        ValueError: Unknown data set, a root without its files, too many unusable videos, or test
            clips that are trained on.
    """
    make(settings, progress=progress)
    survey = index(settings, progress=progress)
    if not settings.is_streamed(survey.clips):
        cache.build(settings, survey.stored, progress=_stage(progress, "decode"))
    return _opened(settings, survey)


def stored(settings: DataSettings) -> Prepared | None:
    """The data set if all of it lies ready; nothing is made, looked at or decoded.

    Returns:
        None where anything is missing or changed.
    """
    if not root_of(settings).is_dir():
        return None
    try:
        sets = read_sets(settings)
    except (ValueError, OSError):
        return None
    found = indexing.load(settings, sets.root)
    if not indexing.is_complete(found, sets.paths):
        return None
    survey = assess(settings, sets, found)
    is_ready = settings.is_streamed(survey.clips) or all(one.is_stored for one in survey.stored)
    return _opened(settings, survey) if is_ready else None


def _opened(settings: DataSettings, survey: Survey) -> Prepared:
    is_stream = settings.is_streamed(survey.clips)
    sets = {one.name: _clip_set(one, settings, is_stream=is_stream) for one in survey.stored}
    return Prepared(
        train=sets.pop("train"),
        validation=sets.pop("validation", None),
        evaluation=MappingProxyType(sets),
        class_names=survey.sets.labels["train"].names,
        flip_map=survey.sets.labels["train"].flip_map,
        counts=survey.counts,
        excluded=survey.excluded,
        fingerprint=survey.fingerprint,
        dataset=settings.dataset,
        cache_dir=cache_of(settings),
        labelled=np.array(survey.labelled, bool),
    )


def make(settings: DataSettings, *, progress: Progress | None = None) -> Path:
    """The root of the data set; embedded data is made if it is not there."""
    spec, root = find(settings.dataset), root_of(settings)
    if spec.embedded:
        from sweep.data.motes import make as motes

        stage = _stage(progress, "make")
        motes.make(spec.name, root, knobs_of(settings), workers=settings.workers, progress=stage)
    return root


def index(
    settings: DataSettings,
    *,
    retry: bool = False,
    is_strict: bool = True,
    progress: Progress | None = None,
) -> Survey:
    """Look at every video that is new, and say which ones are used.

    Args:
        settings: Which data.
        retry: Look again at files that hung the last time.
        is_strict: Refuse data of which too much is unusable, or both trained and tested on.
        progress: See :func:`prepare`.

    Raises:
        ValueError: See :func:`prepare`.
    """
    sets = read_sets(settings)
    found = indexing.update(
        settings, sets.root, sets.paths, retry=retry, progress=_stage(progress, "index")
    )
    survey = assess(settings, sets, found)
    write_excluded(survey)
    if is_strict:
        check(settings, survey)
        check_overlap(settings, survey)
    return survey


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(name, done, total)


def _clip_set(stored: StoredSet, settings: DataSettings, *, is_stream: bool) -> ClipSet:
    source: ClipSource
    if is_stream:
        source = StreamedClips(stored, settings.cache_frames, settings.size_px)
    else:
        source = StoredClips(cache.ClipStore.open(stored).frames)
    return ClipSet(
        name=stored.name,
        source=source,
        labels=np.array([record.label for record in stored.records], np.int64),
        ids=tuple(record.id for record in stored.records),
        captions=tuple(record.captions for record in stored.records),
        groups=tuple(record.group or record.id for record in stored.records),
        meta=tuple(record.meta for record in stored.records),
    )
