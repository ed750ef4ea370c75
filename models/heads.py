"""Heads: from features of an encoder to what a task reads. Rows: ``models.catalogue.HEADS``."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Classes(nn.Linear):
    """Class scores ``(batch, classes)`` of a clip feature ``(batch, width)``."""


class RectifiedClasses(nn.Linear):
    """Class scores of the positive part of a clip feature that is on no side of zero."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """``(batch, width)`` -> ``(batch, classes)``."""
        return super().forward(F.relu(input))


class Joint(nn.Linear):
    """A place in the space that clips share with captions, L2-normalised."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """``(batch, width)`` -> ``(batch, outputs)``."""
        return F.normalize(super().forward(input), dim=-1)
