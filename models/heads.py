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


class DroppedClasses(nn.Linear):
    """Class scores of a clip feature of which training leaves out a share."""

    share: float

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.dropout = nn.Dropout(self.share)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """``(batch, width)`` -> ``(batch, classes)``."""
        return super().forward(self.dropout(input))


class HalfDropped(DroppedClasses):
    """Half is left out, as most published video networks were trained."""

    share = 0.5


class FifthDropped(DroppedClasses):
    """A fifth is left out (S3D)."""

    share = 0.2


class MeanOfProbabilities(HalfDropped):
    """Probabilities: the soft-max at every position of a map, averaged over them."""

    reads = "positions"

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """``(batch, positions, width)`` -> ``(batch, classes)``."""
        return super().forward(input).softmax(-1).mean(1)


class Joint(nn.Linear):
    """A place in the space that clips share with captions, L2-normalised."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """``(batch, width)`` -> ``(batch, outputs)``."""
        return F.normalize(super().forward(input), dim=-1)
