"""A study: one research question with all its sections."""

from __future__ import annotations

from typing import Any

from sweep.settings.data import DataSettings
from sweep.settings.design import DesignSettings
from sweep.settings.evaluate import EvaluateSettings
from sweep.settings.losses import LossSettings
from sweep.settings.model import ModelSettings
from sweep.settings.resources import ResourceSettings
from sweep.settings.search import SearchSettings
from sweep.settings.section import Section, Since, setting
from sweep.settings.track import TrackSettings
from sweep.settings.train import TrainSettings


class StudyConfig(Section):
    """One research question: what is fixed, what varies, what is measured."""

    name: str = setting(role="words", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str = setting(role="words")
    question: str = setting(role="words")
    hypothesis: str = setting("", role="words")
    disclosures: list[str] = setting(
        default_factory=list, role="words", description="printed in the report"
    )
    scale: str = setting("mini", role="words")
    design: DesignSettings = setting(searched=False, default_factory=DesignSettings)
    primary: str = setting(
        "classification",
        since=Since("classification"),
        searched=False,
        description="the task's own loss; weight 1",
    )
    losses: dict[str, LossSettings] = setting()
    combiners: dict[str, dict[str, Any]] = setting(
        default_factory=lambda: dict[str, dict[str, Any]](static={})
    )
    seeds: int | list[int] = setting(3, searched=False)
    seed_base: int = setting(
        0, searched=False, ge=0, description="first seed when `seeds` is a number"
    )
    model: ModelSettings = setting(searched=False, default_factory=ModelSettings)
    data: DataSettings = setting(searched=False, default_factory=DataSettings)
    train: TrainSettings = setting(default_factory=TrainSettings)
    evaluate: EvaluateSettings = setting(searched=False, default_factory=EvaluateSettings)
    search: SearchSettings = setting(searched=False, default_factory=SearchSettings)
    outcomes: dict[str, list[str]] = setting(
        role="words",
        default_factory=lambda: {"clean": ["clean"]},
        description="name -> patterns of conditions whose accuracies are averaged",
    )
    headline: list[str] = setting(
        role="words",
        default_factory=lambda: ["clean"],
        description="outcomes of the answer, in order",
    )
    report: list[str] = setting(
        role="words",
        default_factory=list,
        description="analyses of the report, besides those of the design",
    )
    resources: ResourceSettings = setting(role="place", default_factory=ResourceSettings)
    reuse: list[str] = setting(
        role="place",
        default_factory=list,
        description="folders of sweeps whose finished cells of equal content are taken over",
    )
    track: TrackSettings = setting(role="place", default_factory=TrackSettings)

    @property
    def seed_list(self) -> list[int]:
        """Training seeds, in order."""
        if isinstance(self.seeds, int):
            return list(range(self.seed_base, self.seed_base + self.seeds))
        return list(self.seeds)
