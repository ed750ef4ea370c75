"""Settings of training and of its views."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from perturb.mixes import PROBABILITY
from sweep.settings.section import Positive, Section, Share


class ViewSettings(Section):
    """Training views (quickstart recipe). Lengths in pixels of the stored frame."""

    shift_px: int = Field(6, ge=0, description="largest shift, one draw per clip")
    gain: Share = Field(0.15, description="channel gain in 1 +- gain")
    exposure: Share = Field(0.2, description="exposure in 1 +- exposure")
    noise_b: float = Field(0.15, ge=0, description="view B: largest noise std, range 0..1")
    mask_frames: Share = Field(0.5, description="share of masked frames in the masked view")
    mask_policy: Literal["random", "block", "future", "motion", "aggressive"] = Field(
        "random",
        description="which frames are masked: any, one run of neighbours, the last ones, or rather "
        "those that change most (`aggressive`: almost only those)",
    )
    mask_strength: float | None = Field(
        None, ge=0, description="`motion` (2), `aggressive` (5): power of the change; 0 = any frame"
    )
    mask_random: Share | None = Field(
        None, description="`motion` (.1), `aggressive` (0): share of the draw that ignores change"
    )
    mask_words: Share = Field(0.3, description="share of masked caption words")


class TrainSettings(Section):
    """The fine-tuning budget and recipe."""

    steps: int = Field(400, ge=1)
    batch: int = Field(16, ge=2)
    labelled_share: Share = Field(0.5, description="part of a batch drawn from labelled clips")
    lr: Positive = 2e-3
    weight_decay: float = Field(0.05, ge=0)
    warmup: Share = Field(0.05, description="share of the steps with linear warm-up")
    clip_norm: Positive = 5.0
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the EMA teacher, where one is used")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    views: ViewSettings = Field(default_factory=ViewSettings)
    perturb: Literal["none", "mixed", "temporal", "spatial", "pixmix"] = Field(
        "none", description="perturbed training clips: a row of `perturb/mixes.py`"
    )
    perturb_probability: Share = Field(PROBABILITY, description="share of clips perturbed so")
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")
    validate_every: int = Field(0, ge=0, description="steps between clean validations; 0 = never")
    max_loss: Positive = Field(1e4, description="a larger unified loss counts as diverged")
    trained_below: Positive = Field(
        1.0, description="final training cross-entropy above this is flagged: did not train"
    )
