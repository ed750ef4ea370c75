"""Permutations that move nothing far, likelier the less they change a sequence's similarities.

Source: arXiv:2203.16784, temporal data augmentation. Quirk: the released training step leaves it
out although the method counts it in; here it is a knob, off by default.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

MAX_SHIFT = 2
SCALE = 50.0


@lru_cache(maxsize=32)
def local_permutations(length: int, max_shift: int = MAX_SHIFT) -> tuple[tuple[int, ...], ...]:
    """All permutations p with ``|p(i) - i| <= max_shift``, in lexicographic order.

    Built by backtracking, so that long sequences cost their own number of permutations (400 for
    length 8), not all ``length!``.
    """
    found: list[tuple[int, ...]] = []

    def extend(start: tuple[int, ...]) -> None:
        i = len(start)
        if i == length:
            found.append(start)
            return
        for value in range(max(0, i - max_shift), min(length, i + max_shift + 1)):
            if value not in start:
                extend((*start, value))

    extend(())
    return tuple(found)


def probabilities(
    sequence: Tensor, *, max_shift: int = MAX_SHIFT, scale: float = SCALE
) -> tuple[Tensor, Tensor]:
    """Softmax over permutations of ``-scale`` times the change of the similarity matrix.

    Args:
        sequence: ``(batch, n, dim)``; no gradient.
        max_shift: How far a member may move.
        scale: Factor of the Frobenius norm of the change.

    Returns:
        Probabilities ``(batch, P)`` and permutations ``(P, n)`` int64, the identity first.
    """
    e = sequence.detach()
    table = torch.tensor(local_permutations(e.shape[1], max_shift), device=e.device)
    similarity = -(e @ e.transpose(1, 2))
    moved = similarity[:, table[:, :, None], table[:, None, :]]
    change = (similarity.unsqueeze(1) - moved).flatten(2).norm(dim=2)
    return torch.softmax(-scale * change, dim=1), table


def permute(sequence: Tensor, uniform: Tensor, *, max_shift: int = MAX_SHIFT) -> Tensor:
    """One permutation drawn for every sequence and applied; gradients follow the members.

    Args:
        sequence: ``(batch, n, dim)``.
        uniform: ``(batch,)`` numbers of [0, 1) that choose the permutation.
        max_shift: How far a member may move.
    """
    share, table = probabilities(sequence, max_shift=max_shift)
    chosen = (share.cumsum(1) < uniform.to(share).unsqueeze(1)).sum(1).clamp(max=len(table) - 1)
    order = table[chosen].unsqueeze(-1).expand_as(sequence)
    return sequence.gather(1, order)
