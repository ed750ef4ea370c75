"""Clips and captions in, named features out.

Networks, their heads and weights. Not here: losses (`losses`), how clips are read, picked and
resized (`sweep.data`).

Importing this package does not import torch; the first use of a name that needs it does, so that
planning and reporting can read the catalogue at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from models.catalogue import HEADS, MODELS, TEXT_FEATURES, ModelSpec
from models.clip_format import ClipFormat
from models.interface import Framewise, Tokenizer, VideoModel

if TYPE_CHECKING:
    from models.batchnorm import frozen_batchnorm, frozen_statistics, join_batchnorm
    from models.construction import build, tokenizer
    from models.derivatives import meta_pass
    from models.initialisation import initialise

__all__ = [
    "HEADS",
    "MODELS",
    "TEXT_FEATURES",
    "ClipFormat",
    "Framewise",
    "ModelSpec",
    "Tokenizer",
    "VideoModel",
    "build",
    "frozen_batchnorm",
    "frozen_statistics",
    "initialise",
    "join_batchnorm",
    "meta_pass",
    "tokenizer",
]

_LAZY = {
    "build": "models.construction",
    "frozen_batchnorm": "models.batchnorm",
    "frozen_statistics": "models.batchnorm",
    "initialise": "models.initialisation",
    "join_batchnorm": "models.batchnorm",
    "meta_pass": "models.derivatives",
    "tokenizer": "models.construction",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
