"""A loss from its name, ready to be called with features."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from losses.catalogue import LOSSES, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor


def build(name: str, dims: Mapping[str, int], **knobs: Any) -> Callable[..., Tensor]:
    """The loss called ``name`` as a callable of keyword features.

    Args:
        name: A row of the catalogue (rows added at run time count).
        dims: Sizes of the model's features: ``frames``, ``video``, ``embed``, ``vocabulary``,
            ``classes``, ``time``, ``size_px``, ``word``, ``token``; 0 = not provided.
        **knobs: Settings of the loss that differ from their defaults.

    Returns:
        An ``nn.Module`` if the loss has parameters, else a function with its knobs bound.

    Raises:
        ValueError: Unknown loss or knob (the nearest name is given), or a size that the loss needs
            and the model does not provide.
    """
    if name not in LOSSES:
        raise ValueError(
            f"unknown loss {name!r}{nearest(name, LOSSES)} (losses: {', '.join(LOSSES)})"
        )
    spec = LOSSES[name]
    for given in knobs:
        if given not in spec.knobs:
            allowed = ", ".join(spec.knobs) or "none"
            hint = nearest(given, spec.knobs)
            raise ValueError(f"loss {name}: unknown knob {given!r}{hint} (knobs: {allowed})")
    settings = {**spec.knobs, **knobs}
    loss: Callable[..., Any] = spec.load()
    if isinstance(loss, type):
        return loss(dims=dims, **settings)
    return partial(loss, **settings)
