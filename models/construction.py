"""A model from its name and settings."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from models.catalogue import model

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
            near = difflib.get_close_matches(given, spec.settings, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            allowed = ", ".join(spec.settings)
            raise ValueError(f"model {name}: unknown setting {given!r}{hint} (settings: {allowed})")
    missing = [key for key, value in spec.settings.items() if value is ... and key not in settings]
    if missing:
        raise ValueError(f"model {name}: setting {missing[0]!r} is required")
    return spec.load()(**settings)
