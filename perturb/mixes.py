"""What models are trained on when they are trained on perturbed clips, and then tested on.

The mixes of Schiappa et al. (arXiv:2207.01398, training code): each draws from some perturbations
at severities 1 to 3, and is tested on others, or on the same ones at severities 4 and 5. A constant
table, readable without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TRAINED_SEVERITIES = (1, 2, 3)
TESTED_SEVERITIES = (4, 5)
#: Share of the training clips that are perturbed, as published.
PROBABILITY = 0.75


@dataclass(frozen=True)
class Mix:
    """One mix.

    Attributes:
        name: Key in `MIXES`; its tests are the profile `mix:<name>`.
        meaning: One sentence for lists.
        groups: Perturbations to train on: a group is drawn, then one of its members, both
            uniformly. Empty for PixMix, which is no perturbation of the catalogue.
        tested: Perturbations to test on.
        kin: Perturbations whose kind a mix without groups shows in training.
        source: Paper, and what is ours.
    """

    name: str
    meaning: str
    groups: tuple[tuple[str, ...], ...]
    tested: tuple[str, ...]
    kin: tuple[str, ...] = ()
    source: str = "arXiv:2207.01398, code"

    @property
    def trained(self) -> tuple[str, ...]:
        """Perturbations to train on."""
        return tuple(name for group in self.groups for name in group)

    def seen(self, perturbation: str, severity: int) -> str:
        """How much of a condition training has shown: `condition`, its `kind`, or nothing ("")."""
        if perturbation in self.trained:
            return "condition" if severity in TRAINED_SEVERITIES else "kind"
        return "kind" if perturbation in self.kin else ""


_NOISE = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")
_BLUR = ("motion_blur", "zoom_blur", "defocus_blur")
_TEMPORAL = ("sampling", "reverse_sampling", "jumbling", "box_jumbling", "freezing")
_CAMERA = ("static_rotation", "random_rotation", "translation")

MIXES: Mapping[str, Mix] = {
    mix.name: mix
    for mix in (
        Mix(
            "mixed",
            "one perturbation of four categories per clip",
            (("jpeg",), _TEMPORAL, _NOISE, _CAMERA),
            # the paper names none; these are the five of its eighteen that are not trained on
            (*_BLUR, "mpeg1", "mpeg2"),
            source="arXiv:2207.01398, code; the tests are ours: the published types left over",
        ),
        Mix(
            "temporal",
            "order and rate of frames; tested on the same at higher severities, and on others",
            (("jumbling", "freezing", "sampling"),),
            ("jumbling", "freezing", "sampling", "box_jumbling", "reverse_sampling"),
        ),
        Mix(
            "spatial",
            "noise and rotation; tested on other noise and motion of the camera",
            (("speckle_noise", "gaussian_noise", "random_rotation"),),
            ("shot_noise", "static_rotation", "translation", "impulse_noise"),
        ),
        Mix(
            "pixmix",
            "every frame mixed with altered copies of itself and with fractal pictures (PixMix)",
            (),
            (*_NOISE, *_BLUR, "jpeg", "mpeg1", "mpeg2", *_TEMPORAL),
            # it alters copies by rotations and shifts, among others
            kin=_CAMERA,
            source="arXiv:2112.05135 by arXiv:2207.01398; the tests are ours: the published types "
            "that it shows nothing of",
        ),
    )
}
