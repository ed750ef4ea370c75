"""Frame features paint a coarse picture of their frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.grid import GRID, cell_means, contrasted
from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pixel(nn.Module):
    """Reconstruct the 4x4 averages of red, green and blue of the same frame."""

    def __init__(self, *, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.predict = nn.Linear(size(dims, "frames", loss="pixel"), 3 * GRID**2)

    def forward(self, *, frames: Tensor, pixels: Tensor) -> Tensor:
        """Mean squared error over frames, colours and cells, in units of .25 of full scale.

        Args:
            frames: ``(batch, time, dim)``.
            pixels: ``(batch, time, 3, height, width)``, float in 0..1.
        """
        target = cell_means(contrasted(pixels)).flatten(2)
        return F.mse_loss(at_least_float32(self.predict(frames)), target)
