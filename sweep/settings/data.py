"""Settings of the data."""

from __future__ import annotations

from typing import Any, Literal

from sweep.settings.section import Section, Share, Since, setting


class DataSettings(Section):
    """Which clips are used and how they are stored."""

    dataset: str = setting("motes-ssv2")
    root: str | None = setting(
        None, role="place", description="folder of a data set of your own; absolute path"
    )
    seed: int = setting(1, ge=0, description="generation seed of embedded data")
    train_per_class: int = setting(48, ge=1, description="embedded data: training clips per class")
    val_per_class: int = setting(30, ge=1, description="embedded data: clips per class and set")
    labelled_per_class: int | None = setting(
        None, ge=1, description="cross-entropy sees the first n clips of each class only"
    )
    size_px: int = setting(
        64, ge=16, description="side of the stored square frames; default: the model's"
    )
    cache_frames: int = setting(24, ge=2, description="frames stored per video, uniform in time")
    form: Literal["auto", "store", "stream"] = setting(
        "auto",
        role="place",
        since=Since("auto"),
        description="store: decode all once, share the frames; stream: decode clips whenever they "
        "are asked for; auto: store if it fits into store_gb. The frames are the same",
    )
    store_gb: float = setting(
        100.0,
        role="place",
        since=Since(100.0),
        ge=0,
        description="form auto: largest store of decoded frames",
    )
    backend: Literal["auto", "decord", "pyav"] = setting(
        "auto", description="auto = PyAV; decord refuses files of which it gives other frames"
    )
    access: Literal["auto", "seek", "sequential"] = setting(
        "auto", description="of no effect (frames are read in order); kept for older studies"
    )
    max_bad_fraction: Share = setting(
        0.02, role="place", description="unreadable share above which we stop"
    )
    max_overlap: Share = setting(
        0.0,
        role="place",
        since=Since(0.0),
        description="share of a test set that may have ids or bytes of training clips",
    )
    cache_dir: str | None = setting(
        None,
        role="place",
        description="default: $AUXSWEEP_CACHE, else auxsweep in $XDG_CACHE_HOME or ~/.cache",
    )
    workers: int | None = setting(
        None,
        role="place",
        ge=0,
        description="processes that decode, ahead of a trial if it streams; 0 = in this one, "
        "without a limit per file",
    )
    validation_share: float = setting(
        0.0,
        since=Since(0.0),
        ge=0,
        le=0.5,
        description="share of the training clips kept out, by recording, for a search to choose "
        "and to stop trials by; default: 0, in a search .1, or up to .25 until there are 100 clips",
    )
    options: dict[str, Any] = setting(
        since=Since({}),
        default_factory=dict,
        description="options of the reader, such as `fold`",
    )

    def stored_bytes(self, clips: int) -> int:
        """Size of a store of so many clips."""
        return clips * self.cache_frames * 3 * self.size_px**2

    def is_streamed(self, clips: int) -> bool:
        """Whether a data set of so many clips, all sets together, is decoded on demand."""
        if self.form == "auto":
            return self.stored_bytes(clips) > self.store_gb * 1e9
        return self.form == "stream"
