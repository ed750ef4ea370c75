"""Settings of the tests."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sweep.settings.section import Section


class EvaluateSettings(Section):
    """What the trained model is tested on."""

    shifts: list[str] | Literal["all"] = "all"
    profile: str | None = Field("quick_small", description="named set of perturbation conditions")
    ladder: str | None = Field(None, description="severity table; None = the profile's")
    conditions: dict[str, list[int]] | None = Field(
        None, description="perturbation -> severities; replaces the profile's list"
    )
    temporal_checks: bool = Field(True, description="frame shuffle and reversal as controls")
    seed: int = Field(0, ge=0, description="key of the perturbation draws")
    batch: int = Field(60, ge=1)
    keep_perturbed: bool = Field(True, description="make perturbed clips once per node and reuse")
    fidelity: Literal["probe", "screen", "full"] = Field(
        "full", description="perturbed clips: `full` = all, `screen` and `probe` = a few per cell"
    )
    clips_per_cell: int | None = Field(
        None, ge=2, description="`probe` and `screen`: clips per perturbation and severity"
    )

    task: str = Field("auto", description="what models are tested by; auto: the primary loss tells")
    probe: str = Field("linear", description="probing: what is fitted to features of the model")
    captions: dict[str, list[int]] | Literal["few", "all", "none"] = Field(
        "few", description="retrieval: perturbation of captions -> severities"
    )
    captions_per_clip: Literal["first", "all"] = Field(
        "first", description="retrieval: captions of a clip that are queries"
    )
    joint: list[tuple[str, str]] | Literal["few", "all", "none"] = Field(
        "few", description="retrieval: pairs of a video and a caption perturbation, together"
    )
    joint_severity: int = Field(
        3, ge=1, le=5, description="of the video in a pair; captions have severity 1"
    )
