"""What clips and captions are tested under, and its name: written and read here alone."""

from __future__ import annotations

from dataclasses import dataclass

from perturb.catalogue import PERTURBATIONS

#: The clip set without a shift, and the condition of its clips as they are.
CLEAN = "clean"
#: Category of conditions that test another clip set.
SHIFT = "shift"
#: Categories of conditions with perturbed captions, alone and beside perturbed videos.
CAPTIONS, JOINT = "captions", "joint"
#: Order-destroying controls: a task that needs time order must fail on them.
ORDER_CONTROLS = ("frame_shuffle", "reversal")
#: Before the perturbation of captions that are perturbed alone.
_TEXT = "text_"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. Made by `named` or `parse`.

    Attributes:
        name: `clean`, a shift, `<perturbation>/<severity>`, or with perturbed captions
            `text_<perturbation>/<severity>` and `<video>+<captions>/<severity of the video>`.
        clips: Clip set that is tested: `clean` or the shift.
        perturbation: "" for the clips as they are.
        severity: 0 without perturbation.
        category: `clean`, `shift`, the perturbation's category, `captions` or `joint`; "" for a
            perturbation that is in no catalogue any more.
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

    @classmethod
    def named(
        cls,
        clips: str = CLEAN,
        *,
        perturbation: str = "",
        severity: int = 0,
        text: str = "",
        text_severity: int = 0,
    ) -> Condition:
        """The condition of a clip set, perturbed or not.

        Captions beside a perturbed video have severity 1: their name has no place for another.
        """
        if perturbation and text:
            name, category = f"{perturbation}+{text}/{severity}", JOINT
        elif perturbation:
            spec = PERTURBATIONS.get(perturbation)
            name, category = f"{perturbation}/{severity}", "" if spec is None else spec.category
        elif text:
            name, category = f"{_TEXT}{text}/{text_severity}", CAPTIONS
        else:
            name, category = clips, CLEAN if clips == CLEAN else SHIFT
        return cls(name, clips, perturbation, severity, category, text, text_severity)

    @classmethod
    def parse(cls, name: str) -> Condition:
        """The condition of a name; what has no severity is a clip set."""
        family, slash, level = name.partition("/")
        if not slash or not level.isdigit():
            return cls.named(name)
        video, plus, text = family.partition("+")
        if plus:
            return cls.named(perturbation=video, severity=int(level), text=text, text_severity=1)
        if family.startswith(_TEXT) and family not in PERTURBATIONS:
            return cls.named(text=family.removeprefix(_TEXT), text_severity=int(level))
        return cls.named(perturbation=family, severity=int(level))

    @property
    def family(self) -> str:
        """Its name without a severity: what rows of tables and lines of figures are of."""
        return self.name.partition("/")[0]

    @property
    def level(self) -> int:
        """The severity in its name: of the video, else of the captions; 0 for clips as they are."""
        return self.severity or self.text_severity

    @property
    def is_perturbed(self) -> bool:
        """Whether clips or captions are not as they are."""
        return bool(self.perturbation or self.text)

    @property
    def is_control(self) -> bool:
        """Whether it destroys the order of the frames, to see whether that matters."""
        return self.perturbation in ORDER_CONTROLS and not self.text

    @property
    def of_video(self) -> Condition:
        """The condition of the same videos with captions as they are."""
        return Condition.named(self.clips, perturbation=self.perturbation, severity=self.severity)

    @property
    def of_text(self) -> Condition:
        """The condition of the same captions with videos as they are."""
        return Condition.named(self.clips, text=self.text, text_severity=self.text_severity)
