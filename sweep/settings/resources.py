"""Settings of what a trial asks of the machine or cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sweep.settings.section import Positive, Section, setting


class ResourceWhen(Section):
    """Which trials a resource rule is for; everything given must hold."""

    model: str | None = setting(None, role="place")
    combiner: str | None = setting(None, role="place")
    losses: list[str] = setting(
        default_factory=list, role="place", description="at least one of these losses"
    )
    min_losses: int = setting(0, role="place", ge=0, description="auxiliary losses")
    min_views: int = setting(
        1, role="place", ge=1, description="views of the clip, each a forward of its own"
    )


class ResourceRule(Section):
    """Other resources for some trials; what is left out stays as it is."""

    when: ResourceWhen = setting(role="place")
    cpus_per_trial: Positive | None = setting(None, role="place")
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] | None = setting(
        None, role="place"
    )
    memory_gb_per_trial: Positive | None = setting(None, role="place")
    workers_per_trial: int | None = setting(None, role="place", ge=1)


class ResourceSettings(Section):
    """What one trial asks of the machine or cluster."""

    cpus_per_trial: Positive = setting(1.0, role="place")
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = setting(
        0.0,
        role="place",
        description="below 1, trials share a card; auto: from the memory of a dry step",
    )
    memory_gb_per_trial: Positive | None = setting(
        None,
        role="place",
        description="main memory in GiB; None: not asked for, or measured with `auto`",
    )
    workers_per_trial: int = setting(
        1,
        role="place",
        ge=1,
        description="ranks that train a trial data-parallel; they share what it asks for",
    )
    custom: dict[str, Positive] = setting(
        default_factory=dict,
        role="place",
        description="further Ray resources of each rank, by name",
    )
    rules: list[ResourceRule] = setting(
        default_factory=list,
        role="place",
        description="other resources for some trials; the last one wins",
    )
    shared_checkpoints: bool = setting(
        False,
        role="place",
        description="refuse to start where a node does not see the sweep's folder",
    )
    max_concurrent: int | None = setting(None, role="place", ge=1)
    max_failures: int = setting(
        2,
        role="place",
        ge=0,
        description="restarts of a trial whose worker died or hung; a lost node is free",
    )
    hang_timeout_s: Positive | None = setting(
        1800.0,
        role="place",
        description="a trial that gives no sign of life for so long is killed; null: never",
    )
    reuse_workers: Literal["auto", "on", "off"] = setting(
        "auto", role="place", description="auto: on for CPU trials, off for GPU trials"
    )
    budget: str | None = setting(
        None,
        role="place",
        description="no cell is begun beyond it: 8gpuh, 20cpuh, 3h, 45min, 2d; None: no limit",
    )

    @property
    def gpus(self) -> float:
        """GPUs of a trial as far as they are known before a start: `auto` counts as a whole one."""
        return 1.0 if self.gpus_per_trial == "auto" else self.gpus_per_trial
