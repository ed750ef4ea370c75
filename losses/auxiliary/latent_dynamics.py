"""Each frame's latents tell how the teacher's latents change next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.latents import (
    as_target,
    dynamics_channels,
    mean_where,
    softmax_weights,
    steps,
    visible_pairs,
)
from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class LatentDynamics(nn.Module):
    """Two layers from the latents of a cell to the change of the teacher's.

    With ``hard`` the pairs of the batch that are predicted badly count most.

    Quirk: fixed; in the published code that weighted error carries no gradient at all, so that the
    loss did nothing beside hard-region weighting. ``detached`` brings that back.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        hidden: int = 256,
        inputs: str = "all",
        ratio: float = 0.5,
        levels: int = 1,
        hard: bool = False,
        temperature: float = 1.0,
        detached: bool = False,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        dim = size(dims, "frames", loss="latent_dynamics")
        self.channels = dynamics_channels(dim, inputs, ratio, levels, loss="latent_dynamics")
        width = dim if self.channels is None else len(self.channels)
        self.predict = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.hard = hard
        self.temperature = temperature
        self.detached = detached
        self.normalise = normalise

    def forward(
        self, *, frames_masked: Tensor, frame_mask: Tensor, frames_target: Tensor
    ) -> Tensor:
        """Mean absolute error over cells visible before and after; 0 if there are none.

        Args:
            frames_masked: ``(batch, time, *places, dim)`` of the view with hidden cells.
            frame_mask: ``(batch, time, *places)`` bool, True = hidden.
            frames_target: ``(batch, time, *places, dim)`` of the teacher on the whole clip.
        """
        latents = frames_masked[:, :-1]
        given = latents if self.channels is None else latents[..., self.channels]
        change = steps(as_target(frames_target, normalise=self.normalise))
        error = (at_least_float32(self.predict(given)) - change).abs().mean(-1)
        pairs = visible_pairs(frame_mask)
        if not self.hard:
            return mean_where(error, pairs)
        weighted = mean_where(
            error * softmax_weights(error, pairs, self.temperature, start=0), pairs
        )
        return weighted.detach() + 0.0 * weighted if self.detached else weighted
