"""Weights that are set anew before every step and are constants to the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.catalogue import nearest
from losses.combine.names import checked, rows
from losses.initialisation import part_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS = ("representation", "full")
"""Where the gradients of the losses are compared: at what the encoders put out, or at all weights
of the model."""


class MomentaryWeights(nn.Module):
    """Sum of the losses under the weights of the moment, all 1 at first.

    A subclass sets ``weights`` in ``prepare``, which the trainer calls once per step.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
    """

    weights: Tensor

    def __init__(self, names: Sequence[str], primary: str) -> None:
        super().__init__()
        self.names = checked(names, primary)
        self.primary = primary
        self.register_buffer("weights", torch.ones(len(self.names), dtype=torch.float64))

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> their weighted sum; ``present`` names them where some are absent."""
        chosen = rows(self.names, present, len(losses))
        return (self.weights.to(losses.dtype)[chosen] * losses).sum()


class GradientWeights(MomentaryWeights):
    """Weights that follow from how the gradients of the losses lie to each other.

    All methods of this kind here need no more than the inner products of the gradients, and their
    direction is a weighted sum of the gradients. So they return weights. The encoders descend the
    weighted sum; each head descends its own loss with weight 1, as published: a weight may be
    large where a gradient is small, and says nothing about the head.

    Args:
        names: See :class:`MomentaryWeights`.
        primary: See :class:`MomentaryWeights`.
        level: One of :data:`LEVELS`.

    Raises:
        ValueError: An unknown level.
    """

    def __init__(self, names: Sequence[str], primary: str, level: str) -> None:
        super().__init__(names, primary)
        if level not in LEVELS:
            raise ValueError(
                f"unknown level {level!r} of gradients{nearest(level, LEVELS)} "
                f"(levels: {', '.join(LEVELS)})"
            )
        self.level = level

    def prepare(self, losses: Tensor, gram: Tensor) -> None:
        """Set the weights of the coming step.

        Args:
            losses: ``(losses,)``, detached.
            gram: Inner products of their gradients, ``(losses, losses)``. Where it is not finite
                the weights are NaN, and so is the combined loss.
        """
        matrix = gram.detach().double().cpu()
        if bool(matrix.isfinite().all()):
            found = self.weigh(matrix, losses.detach().double().cpu())
        else:
            found = torch.full((len(self.names),), float("nan"))
        self.weights = found.to(self.weights)

    def weigh(self, gram: Tensor, losses: Tensor) -> Tensor:
        """Weights ``(losses,)`` from finite float64 inner products, on the CPU."""
        raise NotImplementedError


class Draws(nn.Module):
    """Random numbers by name and step: none depends on which other losses stand beside it.

    The state is two numbers, so that a continued training draws what an undisturbed one would.
    """

    seed: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self) -> None:
        """A new seed from the global stream."""
        self.seed = torch.randint(2**62, ())
        self.count = torch.zeros((), dtype=torch.int64)

    def advance(self) -> None:
        """To the next step."""
        self.count = self.count + 1

    def number(self, *names: str) -> int:
        """A 63-bit number of this step."""
        return part_seed(int(self.seed), "/".join((str(int(self.count)), *names)))

    def normal(self, name: str) -> float:
        """A draw from N(0, 1) of this step."""
        generator = torch.Generator().manual_seed(self.number(name))
        return float(torch.randn((), generator=generator, dtype=torch.float64))
