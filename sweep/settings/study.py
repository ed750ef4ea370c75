"""A study: one research question with all its sections."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sweep.settings.data import DataSettings
from sweep.settings.design import DesignSettings
from sweep.settings.evaluate import EvaluateSettings
from sweep.settings.losses import LossSettings
from sweep.settings.model import ModelSettings
from sweep.settings.resources import ResourceSettings
from sweep.settings.search import SearchSettings
from sweep.settings.section import Section
from sweep.settings.track import TrackSettings
from sweep.settings.train import TrainSettings


class StudyConfig(Section):
    """One research question: what is fixed, what varies, what is measured."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str
    question: str
    hypothesis: str = ""
    disclosures: list[str] = Field(default_factory=list, description="printed in the report")
    scale: str = "mini"
    design: DesignSettings = Field(default_factory=DesignSettings)
    primary: str = Field("classification", description="the task's own loss; weight 1")
    losses: dict[str, LossSettings]
    combiners: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: dict[str, dict[str, Any]](static={})
    )
    seeds: int | list[int] = 3
    seed_base: int = Field(0, ge=0, description="first seed when `seeds` is a number")
    model: ModelSettings = Field(default_factory=ModelSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    outcomes: dict[str, list[str]] = Field(
        default_factory=lambda: {"clean": ["clean"]},
        description="name -> patterns of conditions whose accuracies are averaged",
    )
    headline: list[str] = Field(
        default_factory=lambda: ["clean"], description="outcomes of the answer, in order"
    )
    resources: ResourceSettings = Field(default_factory=ResourceSettings)
    reuse: list[str] = Field(
        default_factory=list,
        description="folders of sweeps whose finished cells of equal content are taken over",
    )
    track: TrackSettings = Field(default_factory=TrackSettings)

    @property
    def seed_list(self) -> list[int]:
        """Training seeds, in order."""
        if isinstance(self.seeds, int):
            return list(range(self.seed_base, self.seed_base + self.seeds))
        return list(self.seeds)
