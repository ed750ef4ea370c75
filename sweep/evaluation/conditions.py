"""The conditions that a trained model is tested under, spelled out from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perturb.catalogue import PERTURBATIONS, PROFILES
from perturb.mixes import MIXES
from perturb.text_catalogue import TEXT_PERTURBATIONS, VIDEO_TEXT_GRID
from sweep.evaluation import fidelity
from sweep.settings.section import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweep.settings.evaluate import EvaluateSettings
    from sweep.settings.train import TrainSettings

#: Order-destroying controls: a task that needs time order must fail on them.
TEMPORAL_CHECKS = ("frame_shuffle", "reversal")
#: Perturbed clips above this many bytes per condition are made on the fly, not stored.
MAX_STORED_BYTES = 512 * 2**20
#: Categories of conditions with perturbed captions, alone and beside perturbed videos.
CAPTIONS, JOINT = "captions", "joint"
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


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        name: `clean`, a shift, `<perturbation>/<severity>`, or with perturbed captions
            `text_<perturbation>/<severity>` and `<video>+<captions>/<severity of the video>`.
        clips: Clip set that is tested: `clean` or the shift.
        perturbation: "" for the clips as they are.
        severity: 0 without perturbation.
        category: `clean`, `shift`, the perturbation's category, `captions` or `joint`.
        text: Perturbation of the captions; "" for captions as they are.
        text_severity: 0 without one.
    """

    name: str
    clips: str
    perturbation: str
    severity: int
    category: str
    text: str = ""
    text_severity: int = 0

    @property
    def of_video(self) -> Condition:
        """The condition of the same videos with captions as they are."""
        if not self.text:
            return self
        if not self.perturbation:
            return Condition(self.clips, self.clips, "", 0, "clean")
        category = PERTURBATIONS[self.perturbation].category
        name = f"{self.perturbation}/{self.severity}"
        return Condition(name, self.clips, self.perturbation, self.severity, category)


def ladder(settings: EvaluateSettings) -> str:
    """Name of the severity table in force."""
    if settings.ladder is not None:
        return settings.ladder
    if settings.profile is not None:
        return PROFILES[settings.profile].ladder
    return "paper_fixed"


def conditions(
    settings: EvaluateSettings, shifts: Iterable[str], task: str = "classification"
) -> list[Condition]:
    """Clean first, then the shifts, then perturbations by catalogue order and severity.

    Retrieval adds perturbed captions and pairs of a perturbed video and perturbed captions. Both
    members of a pair are tested alone as well, so that what they do together can be told.

    Args:
        settings: Of the study.
        shifts: Shifted clip sets that the data set has.
        task: `classification` or `retrieval`.

    Raises:
        ConfigError: for a shift that the data set does not have.
    """
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
        for name in TEMPORAL_CHECKS:
            grid.setdefault(name, (1,))
    pairs = _pairs(settings) if task == "retrieval" else []
    for video, _ in pairs:
        grid[video] = {*grid.get(video, ()), settings.joint_severity}
    rows = [Condition("clean", "clean", "", 0, "clean")]
    rows += [Condition(name, name, "", 0, "shift") for name in wanted]
    for name in PERTURBATIONS:
        for severity in sorted(set(grid.get(name, ()))):
            category = PERTURBATIONS[name].category
            rows.append(Condition(f"{name}/{severity}", "clean", name, severity, category))
    if task == "retrieval":
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


def of_videos(rows: Iterable[Condition]) -> list[Condition]:
    """Distinct conditions of the videos: what perturbs captions alone costs no clip."""
    return list(dict.fromkeys(row.of_video for row in rows))


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
        Condition(f"text_{name}/{s}", "clean", "", 0, CAPTIONS, name, s)
        for name in TEXT_PERTURBATIONS
        for s in sorted(set(grid.get(name, ())))
    ]
    at = settings.joint_severity
    rows += [
        Condition(f"{video}+{text}/{at}", "clean", video, at, JOINT, text, 1)
        for video, text in pairs
    ]
    return rows


def clips_per_cell(settings: EvaluateSettings) -> int | None:
    """Clips of every perturbation and severity; None = all of them."""
    if settings.fidelity == "full":
        return None
    return settings.clips_per_cell or fidelity.CLIPS_PER_CELL[settings.fidelity]


def table(
    settings: EvaluateSettings, rows: Sequence[Condition], clips: int
) -> fidelity.Table | None:
    """Which clips each perturbation cell is tested on; None = every cell on all clips.

    Args:
        settings: Of the study; the draw is keyed by its seed.
        rows: All conditions of the study, those that cannot run here included.
        clips: Size of the clean set.
    """
    count = clips_per_cell(settings)
    cells = [row.name for row in rows if row.perturbation]
    if count is None or not cells:
        return None
    return fidelity.draw(
        cells, clips, fidelity=settings.fidelity, per_cell=count, seed=settings.seed
    )
