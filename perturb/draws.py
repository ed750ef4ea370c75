"""Random numbers that depend on what is perturbed, never on when or where.

The key of a draw is (seed, perturbation, severity, clip id), hashed. So a clip meets the same
corruption whatever the batch size, the order of evaluation, the worker or the number of devices,
which is what allows two trials of a sweep to be compared clip by clip. Imports no torch: orders of
frames need none.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Draws:
    """The random numbers of one clip under one condition.

    Attributes:
        key: 64-bit hash of (seed, perturbation, severity, clip id).
    """

    key: int

    def order(self) -> random.Random:
        """Return a generator for orders and subsets of frames, the same on every device."""
        return random.Random(self.key)

    def numbers(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a generator for numbers drawn on `device`.

        Angles, offsets and masks are drawn on the CPU always. Noise per pixel is drawn where the
        clip lies, because moving it would cost more than the noise itself: there, a CPU and a GPU
        give different samples of the same distribution. The CPU's result is the reference.
        """
        import torch

        return torch.Generator(device).manual_seed(self.key)


def draws_for(name: str, severity: int, clip_id: int | str, seed: int) -> Draws:
    """Return the random numbers of one clip under one condition.

    Args:
        name: Perturbation.
        severity: Severity; different severities draw independently.
        clip_id: Identity of the clip; 7 and "7" are the same clip.
        seed: Seed of the evaluation.
    """
    text = "\x1f".join((str(seed), name, str(severity), str(clip_id)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return Draws(int.from_bytes(digest, "little"))
