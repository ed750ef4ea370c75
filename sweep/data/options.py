"""What a user may say about the data. Imports no numpy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweep.data.motes.knobs import Knobs

if TYPE_CHECKING:
    from sweep.settings.data import DataSettings


@dataclass(frozen=True)
class DataOptions:
    """Which clips are used and how they are stored.

    Attributes:
        dataset: A name of :data:`sweep.data.catalogue.DATASETS`.
        root: Folder of the data set; None = made in the cache, for embedded data.
        seed: Generation seed of embedded data.
        train_per_class: Training clips per class of embedded data.
        val_per_class: Clips per class of each evaluation set of embedded data.
        labelled_per_class: The first n training clips of every class are labelled; None = all.
        size_px: Side of the stored square frames.
        cache_frames: Frames stored per video, uniform in time.
        cache_dir: None = `$AUXSWEEP_CACHE`, else `~/.cache/auxsweep`.
        max_bad_fraction: Share of unusable videos of a split above which preparation stops.
        access: Without effect on what is read: frames are reached in order, whatever it says. It
            stays because old studies name it and stores of plain files are named by it.
        backend: `auto` and `pyav` = PyAV; `decord` = decord, for files of which it gives all frames
            that PyAV gives.
        workers: Decoding processes; None = cores, at most 8; 0 = in this process, without a
            time limit per file.
        fold: Which of the three official splits of UCF101.
    """

    dataset: str = "motes-ssv2"
    root: Path | None = None
    seed: int = 0
    train_per_class: int = 48
    val_per_class: int = 15
    labelled_per_class: int | None = None
    size_px: int = 64
    cache_frames: int = 24
    cache_dir: Path | None = None
    max_bad_fraction: float = 0.02
    access: Literal["auto", "seek", "sequential"] = "auto"
    backend: Literal["auto", "decord", "pyav"] = "auto"
    workers: int | None = None
    fold: int = 1

    @property
    def cache(self) -> Path:
        """Folder of everything that we store about data on this node."""
        named = self.cache_dir or os.environ.get("AUXSWEEP_CACHE") or "~/.cache/auxsweep"
        return Path(named).expanduser().absolute()

    @property
    def motes(self) -> Knobs:
        """The knobs of embedded data."""
        return Knobs.of(
            self.dataset,
            train_per_class=self.train_per_class,
            val_per_class=self.val_per_class,
            seed=self.seed,
        )


def options(settings: DataSettings) -> DataOptions:
    """The same settings, as the data package takes them."""
    return DataOptions(
        dataset=settings.dataset,
        root=None if settings.root is None else Path(settings.root).expanduser().resolve(),
        seed=settings.seed,
        train_per_class=settings.train_per_class,
        val_per_class=settings.val_per_class,
        labelled_per_class=settings.labelled_per_class,
        size_px=settings.size_px,
        cache_frames=settings.cache_frames,
        cache_dir=None if settings.cache_dir is None else Path(settings.cache_dir).expanduser(),
        max_bad_fraction=settings.max_bad_fraction,
        access=settings.access,
        backend=settings.backend,
        workers=settings.workers,
    )
