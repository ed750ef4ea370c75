"""Each frame's latents tell how the mean colour of their cell changes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.grid import contrasted
from losses.parts.latents import dynamics_channels, mean_where, steps, visible_pairs
from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping

COLOURS = 3


def cell_colours(pixels: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Mean colour of every cell.

    Args:
        pixels: ``(batch, frames, 3, height, width)``.
        grid: Steps in time, then rows and columns of cells; none = one cell per step.

    Returns:
        ``(batch, *grid, 3)``.

    Raises:
        ValueError: Pixels that do not divide into the grid.
    """
    batch, frames, colours, height, width = pixels.shape
    time, rows, columns = grid if len(grid) == 3 else (grid[0], 1, 1)
    if len(grid) not in (1, 3) or frames % time or height % rows or width % columns:
        raise ValueError(f"pixels {tuple(pixels.shape)} do not divide into cells {grid}")
    cells = pixels.reshape(
        batch, time, frames // time, colours, rows, height // rows, columns, width // columns
    )
    means = cells.mean((2, 5, 7)).permute(0, 1, 3, 4, 2)
    return means.reshape(batch, *grid, colours)


class PixelDelta(nn.Module):
    """Two layers from the latents of a cell to the change of its mean red, green and blue."""

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        hidden: int = 256,
        inputs: str = "all",
        ratio: float = 0.5,
        levels: int = 1,
    ) -> None:
        super().__init__()
        dim = size(dims, "frames", loss="pixel_delta")
        self.channels = dynamics_channels(dim, inputs, ratio, levels, loss="pixel_delta")
        width = dim if self.channels is None else len(self.channels)
        self.predict = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, COLOURS)
        )

    def forward(self, *, frames_masked: Tensor, frame_mask: Tensor, pixels: Tensor) -> Tensor:
        """Mean absolute error over cells visible before and after; 0 if there are none.

        In units of .25 of full scale.

        Args:
            frames_masked: ``(batch, time, *places, dim)`` of the view with hidden cells.
            frame_mask: ``(batch, time, *places)`` bool, True = hidden.
            pixels: ``(batch, frames, 3, height, width)``, float in 0..1; frames, height and
                width are multiples of the grid of ``frame_mask``.
        """
        latents = frames_masked[:, :-1]
        given = latents if self.channels is None else latents[..., self.channels]
        change = steps(cell_colours(contrasted(pixels), tuple(frame_mask.shape[1:])))
        error = (at_least_float32(self.predict(given)) - change).abs().mean(-1)
        return mean_where(error, visible_pairs(frame_mask))
