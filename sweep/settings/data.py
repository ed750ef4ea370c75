"""Settings of the data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sweep.settings.section import Section, Share


class DataSettings(Section):
    """Which clips are used and how they are stored."""

    dataset: str = "motes-ssv2"
    root: str | None = Field(None, description="folder of a data set of your own; absolute path")
    seed: int = Field(1, ge=0, description="generation seed of embedded data")
    train_per_class: int = Field(48, ge=1, description="embedded data: training clips per class")
    val_per_class: int = Field(30, ge=1, description="embedded data: clips per class and set")
    labelled_per_class: int | None = Field(
        None, ge=1, description="cross-entropy sees the first n clips of each class only"
    )
    size_px: int = Field(64, ge=16, description="side of the stored square frames")
    cache_frames: int = Field(24, ge=2, description="frames stored per video, uniform in time")
    backend: Literal["auto", "decord", "pyav"] = Field(
        "auto", description="auto = PyAV; decord refuses files of which it gives other frames"
    )
    access: Literal["auto", "seek", "sequential"] = Field(
        "auto", description="of no effect (frames are read in order); kept for older studies"
    )
    max_bad_fraction: Share = Field(0.02, description="unreadable share above which we stop")
    cache_dir: str | None = Field(None, description="default: $AUXSWEEP_CACHE or ~/.cache/auxsweep")
    workers: int | None = Field(None, ge=1, description="decoding processes")
