"""A model from its name and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.catalogue import model, nearest

if TYPE_CHECKING:
    from torch import nn


def build(name: str, **settings: Any) -> nn.Module:
    """The model called ``name``, with freshly drawn weights.

    Args:
        name: A row of the catalogue.
        **settings: Keyword arguments of that model.

    Raises:
        ValueError: Unknown model or setting (the nearest name is given), or a required one left
            out.
    """
    spec = model(name)
    for given in settings:
        if given not in spec.settings:
            hint = nearest(given, spec.settings)
            allowed = ", ".join(spec.settings)
            raise ValueError(f"model {name}: unknown setting {given!r}{hint} (settings: {allowed})")
    missing = [key for key, value in spec.settings.items() if value is ... and key not in settings]
    if missing:
        raise ValueError(f"model {name}: setting {missing[0]!r} is required")
    return spec.load()(**settings)
