"""Perturb training clips by a mix: what a clip gets is drawn from its id, nothing else.

>>> import torch
>>> clip = torch.randint(0, 256, (2, 8, 3, 32, 32), dtype=torch.uint8)
>>> made = apply_mix(clip, "temporal", clip_ids=["a", "b"], seed=1)
>>> made.shape, made.dtype
(torch.Size([2, 8, 3, 32, 32]), torch.uint8)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perturb.apply import apply, nearest
from perturb.draws import draws_for
from perturb.mixes import MIXES, PROBABILITY, TRAINED_SEVERITIES, Mix
from perturb.pixmix import pixmix

if TYPE_CHECKING:
    from collections.abc import Sequence

PIXMIX = "pixmix"


def choose(
    mix: str, clip_id: str | int, *, seed: int, probability: float = PROBABILITY
) -> tuple[str, int] | None:
    """Return what a clip gets, as a perturbation (or `pixmix`) and its severity; None: nothing.

    Args:
        mix: Key of `MIXES`.
        clip_id: Identity of this use of the clip.
        seed: Seed of the training.
        probability: Share of the clips that get anything, 0 to 1.

    Raises:
        ValueError: If the mix does not exist.
    """
    row = _row(mix)
    rng = draws_for(f"mix:{mix}", 0, clip_id, seed).order()
    if rng.random() >= probability:
        return None
    severity = rng.choice(TRAINED_SEVERITIES)
    if not row.groups:
        return PIXMIX, severity
    return rng.choice(rng.choice(row.groups)), severity


def perturb_as_chosen(
    clip: Tensor,
    name: str,
    severity: int,
    *,
    clip_ids: Sequence[str | int],
    seed: int,
    ladder: str = "paper_fixed",
) -> Tensor:
    """Return clips under one choice of `choose`, as `perturb.apply.apply` does."""
    if name == PIXMIX:
        draws = [draws_for(PIXMIX, severity, clip_id, seed) for clip_id in clip_ids]
        return pixmix(clip, draws, severity=severity)
    return apply(clip, name, severity, clip_ids=clip_ids, seed=seed, ladder=ladder)


def apply_mix(
    clip: Tensor,
    mix: str,
    *,
    clip_ids: Sequence[str | int],
    seed: int,
    ladder: str = "paper_fixed",
    probability: float = PROBABILITY,
) -> Tensor:
    """Return training clips, each perturbed as its id has it or as it was; never modified in place.

    Args:
        clip: (B, T, 3, H, W) uint8 RGB.
        mix: Key of `MIXES`.
        clip_ids: One identity per clip; give a clip another one whenever it is used again.
        seed: Seed of the training.
        ladder: Key of `LADDERS`.
        probability: Share of the clips that are perturbed, 0 to 1.

    Raises:
        ValueError: If the mix does not exist, or as `perturb.apply.apply`.
    """
    out = torch.empty_like(clip, memory_format=torch.contiguous_format)
    for index, clip_id in enumerate(clip_ids):
        one = clip[index : index + 1]
        chosen = choose(mix, clip_id, seed=seed, probability=probability)
        if chosen is not None:
            one = perturb_as_chosen(one, *chosen, clip_ids=[clip_id], seed=seed, ladder=ladder)
        out[index] = one[0]
    return out


def _row(mix: str) -> Mix:
    if mix not in MIXES:
        raise ValueError(f"unknown mix {mix!r}{nearest(mix, MIXES)}")
    return MIXES[mix]
