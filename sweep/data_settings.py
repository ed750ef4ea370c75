"""From the data section of a study to the options of the data package (imports no numpy)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sweep.data.options import DataOptions

if TYPE_CHECKING:
    from sweep.config import DataSettings


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
