"""Named features in, one scalar per loss out, and one scalar from all of them.

Losses, combiners and how diverse a set of losses is. Not here: networks (`models`), and anything of
studies, data sets or trials (`sweep`).

Importing this package does not import torch; the first use of a name that needs it does, so that
planning and reporting can read the catalogue at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from losses.catalogue import LOSSES, LossSpec
from losses.combine.catalogue import COMBINERS, CombinerSpec

if TYPE_CHECKING:
    from losses.construction import build
    from losses.initialisation import initialise

__all__ = ["COMBINERS", "LOSSES", "CombinerSpec", "LossSpec", "build", "initialise"]

_LAZY = {"build": "losses.construction", "initialise": "losses.initialisation"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
