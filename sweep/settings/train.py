"""Settings of training and of its views."""

from __future__ import annotations

from typing import Literal

from perturb.mixes import PROBABILITY
from sweep.settings.section import Positive, Section, Share, Since, setting


class ViewSettings(Section):
    """Training views (quickstart recipe). Lengths in pixels of the stored frame."""

    shift_px: int = setting(6, ge=0, description="largest shift, one draw per clip")
    gain: Share = setting(0.15, description="channel gain in 1 +- gain")
    exposure: Share = setting(0.2, description="exposure in 1 +- exposure")
    noise_b: float = setting(0.15, ge=0, description="view B: largest noise std, range 0..1")
    mask_frames: Share = setting(0.5, description="share of masked frames in the masked view")
    mask_policy: Literal["random", "block", "future", "motion", "aggressive"] = setting(
        "random",
        since=Since("random"),
        description="which frames are masked: any, one run of neighbours, the last ones, or rather "
        "those that change most (`aggressive`: almost only those)",
    )
    mask_strength: float | None = setting(
        None,
        since=Since(None, unless=("mask_policy", "random")),
        ge=0,
        description="`motion` (2), `aggressive` (5): power of the change; 0 = any frame",
    )
    mask_random: Share | None = setting(
        None,
        since=Since(None, unless=("mask_policy", "random")),
        description="`motion` (.1), `aggressive` (0): share of the draw that ignores change",
    )
    mask_words: Share = setting(0.3, description="share of masked caption words")


class TrainSettings(Section):
    """The fine-tuning budget and recipe."""

    steps: int = setting(400, searched=False, ge=1)
    batch: int = setting(16, searched=False, ge=2)
    labelled_share: Share = setting(0.5, description="part of a batch drawn from labelled clips")
    withheld_share: float = setting(
        0.0,
        since=Since(0.0),
        searched=False,
        ge=0,
        lt=1,
        description="share of the labelled clips of every class left out of training; where a "
        "combiner of the study has `data: holdout`, its share, in all cells: their pairs then see "
        "the same clips",
    )
    lr: Positive = setting(2e-3)
    weight_decay: float = setting(0.05, ge=0)
    warmup: Share = setting(0.05, description="share of the steps with linear warm-up")
    clip_norm: Positive = setting(5.0)
    label_smoothing: float = setting(0.05, ge=0, lt=1)
    ema: float = setting(
        0.99, ge=0, lt=1, description="decay of the EMA teacher, where one is used"
    )
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", searched=False)
    views: ViewSettings = setting(default_factory=ViewSettings)
    perturb: Literal["none", "mixed", "temporal", "spatial", "pixmix"] = setting(
        "none",
        since=Since("none"),
        description="perturbed training clips: a row of `perturb/mixes.py`",
    )
    perturb_probability: Share = setting(
        PROBABILITY,
        since=Since(PROBABILITY, unless=("perturb", "none")),
        description="share of clips perturbed so",
    )
    log_every: int = setting(10, role="place", ge=1)
    checkpoint_every: int = setting(
        100, role="place", ge=1, description="steps between checkpoints"
    )
    validate_every: int = setting(
        0, searched=False, ge=0, description="steps between clean validations; 0 = never"
    )
    max_loss: Positive = setting(
        1e4, searched=False, description="a larger unified loss counts as diverged"
    )
    trained_below: Positive | None = setting(
        None,
        searched=False,
        none_means=1.0,  # the default of old, which keys have
        description="a final primary loss above this is flagged: did not train; None = .8 of its "
        "value at chance, or .9 of that at the start where chance has no value",
    )
