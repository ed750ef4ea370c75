"""Sizes of the features that losses with parameters of their own are built for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def size(dims: Mapping[str, int], key: str, *, loss: str) -> int:
    """``dims[key]``, at least 1.

    Raises:
        ValueError: The model gives no such size.
    """
    if dims.get(key, 0) < 1:
        given = ", ".join(f"{name} {value}" for name, value in dims.items())
        raise ValueError(f"loss {loss} needs the size {key!r} of the model, which gives {given}")
    return dims[key]
