"""Settings of the tests."""

from __future__ import annotations

from typing import Literal

from sweep.settings.section import Section, Since, setting


class EvaluateSettings(Section):
    """What the trained model is tested on."""

    shifts: list[str] | Literal["all"] = setting("all")
    profile: str | None = setting("quick_small", description="named set of perturbation conditions")
    ladder: str | None = setting(None, description="severity table; None = the profile's")
    conditions: dict[str, list[int]] | None = setting(
        None, description="perturbation -> severities; replaces the profile's list"
    )
    temporal_checks: bool = setting(True, description="frame shuffle and reversal as controls")
    seed: int = setting(0, ge=0, description="key of the perturbation draws")
    batch: int = setting(60, role="place", ge=1)
    keep_perturbed: bool = setting(
        True, role="place", description="make perturbed clips once per node and reuse"
    )
    fidelity: Literal["probe", "screen", "full"] = setting(
        "full",
        since=Since("full"),
        description="perturbed clips: `full` = all, `screen` and `probe` = a few per cell",
    )
    clips_per_cell: int | None = setting(
        None,
        since=Since(None, unless=("fidelity", "full")),
        ge=2,
        description="`probe` and `screen`: clips per perturbation and severity",
    )
    on_validation: list[str] = setting(
        since=Since([]),
        default_factory=list,
        description="patterns of conditions that are tested on the validation clips as well, at "
        "the end of training; a search that chooses by these fills them in",
    )
    each_validation: bool = setting(
        False,
        since=Since(False),
        description="test `on_validation` at every validation of a training, not at its end alone; "
        "a search that stops by several objectives sets it",
    )
    task: str = setting(
        "auto",
        since=Since("auto"),
        description="what models are tested by; auto: the primary loss tells",
    )
    probe: str = setting(
        "linear",
        since=Since("linear"),
        description="probing: what is fitted to features of the model",
    )
    captions: dict[str, list[int]] | Literal["few", "all", "none"] = setting(
        "few", since=Since("few"), description="retrieval: perturbation of captions -> severities"
    )
    captions_per_clip: Literal["first", "all"] = setting(
        "first", since=Since("first"), description="retrieval: captions of a clip that are queries"
    )
    joint: list[tuple[str, str]] | Literal["few", "all", "none"] = setting(
        "few",
        since=Since("few"),
        description="retrieval: pairs of a video and a caption perturbation, together",
    )
    joint_severity: int = setting(
        3,
        since=Since(3),
        ge=1,
        le=5,
        description="of the video in a pair; captions have severity 1",
    )
