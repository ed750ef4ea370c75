"""The conditions that a trained model is tested under, spelled out from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from perturb.catalogue import PERTURBATIONS, PROFILES, ladder_of
from perturb.mixes import MIXES
from perturb.text_catalogue import TEXT_PERTURBATIONS, VIDEO_TEXT_GRID
from sweep.evaluation import fidelity
from sweep.records.condition import CLEAN, ORDER_CONTROLS, Condition
from sweep.records.equal import counted, exact, in_words
from sweep.records.patterns import matching
from sweep.settings.names import nearest
from sweep.settings.section import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from perturb.sameness import Same
    from sweep.settings.evaluate import EvaluateSettings
    from sweep.settings.train import TrainSettings

#: Perturbed clips above this many bytes per condition are made on the fly, not stored.
MAX_STORED_BYTES = 512 * 2**20
#: `evaluate.captions: few`: word order, lost words, misspelling, noise around the sentence.
FEW_CAPTIONS: Mapping[str, Sequence[int]] = {
    "drop_first": (1,),
    "shuffle_order": (1,),
    "no_nouns": (1,),
    "no_verbs": (1,),
    "random_noun": (1,),
    "typos": (1, 3, 5),
    "append_irr": (1,),
}
#: `evaluate.joint: few`: two pairs each of order, noise and geometry.
FEW_PAIRS = (
    ("jumbling", "shuffle_order"),
    ("jumbling", "no_verbs"),
    ("shot_noise", "shuffle_order"),
    ("shot_noise", "random_noun"),
    ("static_rotation", "no_verbs"),
    ("static_rotation", "random_noun"),
)
#: Default outcome of the order-destroying controls, which are no part of an answer.
CONTROLS = "order_controls"


def ladder(settings: EvaluateSettings) -> str:
    """Name of the severity table in force."""
    return ladder_of(settings.profile, settings.ladder)


@dataclass(frozen=True)
class TestPlan:
    """What a trained model is tested under; made once from the settings, then handed down.

    Attributes:
        rows: Clean first, then the shifts, then perturbations by catalogue order and severity, then
            perturbed captions, then pairs of a perturbed video and perturbed captions. Both members
            of a pair are tested alone as well, so that what they do together can be told.
        clips: Size of the clean set.
        settings: Of the study.
    """

    rows: tuple[Condition, ...]
    clips: int
    settings: EvaluateSettings

    @classmethod
    def of(
        cls, settings: EvaluateSettings, shifts: Iterable[str], sides: Collection[str], clips: int
    ) -> TestPlan:
        """Spell out the conditions.

        Args:
            settings: Of the study.
            shifts: Shifted clip sets that there are.
            sides: What the task lets perturb: `video`, `text`.
            clips: Size of the clean set.

        Raises:
            ConfigError: for a shift that the data set does not have.
        """
        return cls(tuple(_rows(settings, shifts, sides)), clips, settings)

    @property
    def ladder(self) -> str:
        """Name of the severity table in force."""
        return ladder(self.settings)

    @property
    def of_videos(self) -> list[Condition]:
        """Distinct conditions of the videos: what perturbs captions alone costs no clip."""
        return list(dict.fromkeys(row.of_video for row in self.rows))

    @property
    def per_cell(self) -> int | None:
        """Clips of every perturbation and severity; None = all of them."""
        return clips_per_cell(self.settings)

    def tested(self, row: Condition) -> int:
        """Clips that a condition is tested on; shifts count as large as the clean set."""
        if self.per_cell is None or not row.perturbation:
            return self.clips
        return min(self.clips, self.per_cell)

    @cached_property
    def table(self) -> fidelity.Table | None:
        """Which clips each perturbed condition is tested on; None = all of them on all clips.

        The draw is over all conditions, those that cannot run here included, and keyed by
        `evaluate.seed`.
        """
        cells = [row.name for row in self.rows if row.perturbation]
        if self.per_cell is None or not cells:
            return None
        return fidelity.draw(
            cells,
            self.clips,
            fidelity=self.settings.fidelity,
            per_cell=self.per_cell,
            seed=self.settings.seed,
        )


def check_outcomes(
    outcomes: Mapping[str, Sequence[str]],
    rows: Iterable[Condition],
    where: str,
    same: Mapping[str, Same] = MappingProxyType({}),
) -> None:
    """Refuse an outcome without a tested condition, and a pattern that names nothing there is.

    Args:
        outcomes: Name -> patterns.
        rows: What is tested.
        where: What is being asked, for the message.
        same: Which of them are equal, see ``sweep.records.equal``; an outcome of nothing but clean
            clips under other names is refused, too.

    Raises:
        ConfigError: with the nearest condition and the ones that there are.
    """
    names = [row.name for row in rows]
    for outcome, patterns in outcomes.items():
        for pattern in patterns:
            glob = pattern.rpartition(":")[2]
            # one list may serve several grids: what exists but is not tested here is passed over
            # as long as the outcome has something to stand on
            exists = glob.partition("/")[0] in {*PERTURBATIONS, *TEXT_PERTURBATIONS}
            globs = [one.rpartition(":")[2] for one in patterns] if exists else [glob]
            if not matching(names, globs):
                shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
                raise ConfigError(
                    f"{where}: outcomes.{outcome}: '{pattern}' matches nothing that is tested"
                    f"{_nearest_condition(glob, names)} (tested: {shown}; to drop the outcome, "
                    "give outcomes={...} and headline=[...] without it)"
                )
        found = [name.rpartition(":")[2] for name in matching(names, patterns)]
        if CLEAN not in found and all(exact(same).get(name) == CLEAN for name in found):
            raise ConfigError(
                f"{where}: outcomes.{outcome}: nothing that it names changes the clips: "
                f"{'; '.join(in_words({name: same[name] for name in found}))}; give other "
                "severities, evaluate.ladder or data.cache_frames"
            )


def _nearest_condition(glob: str, names: Sequence[str]) -> str:
    """`; did you mean ...?`: the nearest name, or its kind at the severities that are tested."""
    kind, slash, _ = glob.partition("/")
    same = [name for name in names if name.partition("/")[0] == kind]
    if same:
        return f"; did you mean {', '.join(map(repr, same[:3]))}?"
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in names))
    hint = nearest(kind, kinds)
    return hint.replace("'?", "/*'?") if hint and slash else hint


def default_outcomes(
    rows: Iterable[Condition], same: Mapping[str, Same] = MappingProxyType({})
) -> dict[str, list[str]]:
    """Outcomes of a study that names none: clean, shifts, one per tested category.

    The order-destroying controls are one of their own: who sees time order must fail on them.

    Args:
        rows: What is tested.
        same: Which of them are equal, see ``sweep.records.equal``; each is in one outcome, once.
    """
    found: dict[str, list[str]] = {"clean": ["clean"]}
    rows = list(rows)
    own = set(counted((row.name for row in rows), exact(same)))
    for row in (row for row in rows if row.name in own):
        if row.text:
            found.setdefault("captions", []).append(row.name)
        elif row.is_control:
            found.setdefault(CONTROLS, []).append(row.name)
        elif row.perturbation:
            found.setdefault(row.category, []).append(row.name)
        elif row.name != CLEAN:
            found.setdefault("shifts", []).append(row.name)
    return found


def _rows(
    settings: EvaluateSettings, shifts: Iterable[str], sides: Collection[str]
) -> list[Condition]:
    available = list(shifts)
    wanted = available if settings.shifts == "all" else list(settings.shifts)
    for name in wanted:
        if name not in available:
            raise ConfigError(
                f"evaluate.shifts: unknown shift '{name}'{nearest(name, available)} "
                f"(this data set has: {', '.join(available) or 'none'})"
            )
    grid: dict[str, Iterable[int]] = {}
    if settings.conditions is not None:
        grid |= settings.conditions
    elif settings.profile is not None:
        grid |= PROFILES[settings.profile].conditions
    if settings.temporal_checks:
        for name in ORDER_CONTROLS:
            grid.setdefault(name, (1,))
    pairs = _pairs(settings) if "text" in sides else []
    for video, _ in pairs:
        grid[video] = {*grid.get(video, ()), settings.joint_severity}
    rows = [Condition.named(), *(Condition.named(name) for name in wanted)]
    rows += [
        Condition.named(perturbation=name, severity=severity)
        for name in PERTURBATIONS
        for severity in sorted(set(grid.get(name, ())))
    ]
    if "text" in sides:
        rows += _text_rows(settings, pairs)
    return rows


def seen_in_training(train: TrainSettings, rows: Iterable[Condition]) -> dict[str, str]:
    """Conditions that the model was trained on: name -> `condition`, or `kind`.

    `kind`: the same perturbation at another severity, or a kin of it.
    """
    if train.perturb == "none":
        return {}
    mix = MIXES[train.perturb]
    found = {row.name: mix.seen(row.perturbation, row.severity) for row in rows}
    return {name: much for name, much in found.items() if much}


def _pairs(settings: EvaluateSettings) -> list[tuple[str, str]]:
    """Pairs of a video and a caption perturbation, without those that need a language model."""
    if not isinstance(settings.joint, str):
        return list(settings.joint)
    named = {"few": FEW_PAIRS, "all": VIDEO_TEXT_GRID, "none": ()}[settings.joint]
    return [(video, text) for video, text in named if not TEXT_PERTURBATIONS[text].needs_model]


def _text_rows(settings: EvaluateSettings, pairs: Sequence[tuple[str, str]]) -> list[Condition]:
    grid: dict[str, Iterable[int]] = {}
    if not isinstance(settings.captions, str):
        grid |= settings.captions
    elif settings.captions == "few":
        grid |= FEW_CAPTIONS
    elif settings.captions == "all":
        grid |= {n: row.severities for n, row in TEXT_PERTURBATIONS.items() if not row.needs_model}
    for _, text in pairs:
        grid[text] = {*grid.get(text, ()), 1}
    rows = [
        Condition.named(text=name, text_severity=severity)
        for name in TEXT_PERTURBATIONS
        for severity in sorted(set(grid.get(name, ())))
    ]
    at = settings.joint_severity
    rows += [
        Condition.named(perturbation=video, severity=at, text=text, text_severity=1)
        for video, text in pairs
    ]
    return rows


def clips_per_cell(settings: EvaluateSettings) -> int | None:
    """Clips of every perturbation and severity; None = all of them."""
    if settings.fidelity == "full":
        return None
    return settings.clips_per_cell or fidelity.CLIPS_PER_CELL[settings.fidelity]
