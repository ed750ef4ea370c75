"""Frame features tell how brightness changes around their frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.grid import GRID, PIXEL_STD, cell_means, contrasted
from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping

LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""
UNIT = 0.0625
"""Share of full scale that counts as 1, so that targets are of order 1."""


class FrameDifference(nn.Module):
    """Signed luminance difference of the next and the previous frame, on a 4x4 grid.

    Raises:
        ValueError: Clips of fewer than three frames, which have no inner frame.
    """

    def __init__(self, *, dims: Mapping[str, int]) -> None:
        super().__init__()
        if size(dims, "time", loss="frame_difference") < 3:
            raise ValueError(f"loss frame_difference needs 3 frames per clip, not {dims['time']}")
        self.predict = nn.Linear(size(dims, "frames", loss="frame_difference"), GRID**2)

    def forward(self, *, frames: Tensor, pixels: Tensor) -> Tensor:
        """Mean smooth L1 error over inner frames and cells, in squared units of .0625 below 1.

        Args:
            frames: ``(batch, time, dim)``.
            pixels: ``(batch, time, 3, height, width)``, float in 0..1.
        """
        red, green, blue = cell_means(contrasted(pixels)).unbind(2)
        luminance = LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
        change = (luminance[:, 2:] - luminance[:, :-2]) * (PIXEL_STD / UNIT)
        predicted = at_least_float32(self.predict(frames[:, 1:-1]))
        return F.smooth_l1_loss(predicted, change.flatten(2))
