"""Initial weights that depend on the seed and the part's name, and on nothing else.

Cells of a study are compared pair by pair, so the trunk of seed s must be the same whether or not
a text tower stands beside it. Drawing all parts from one random stream would break that.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def part_seed(seed: int, name: str) -> int:
    """A seed below 2**63 for the part ``name``; equal inputs give equal seeds everywhere."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def initialise(module: nn.Module, seed: int) -> nn.Module:
    """Draw every top-level part of ``module`` anew, each from its own random stream.

    The distributions are those of each layer's ``reset_parameters``. The global random state is
    left as it was.

    Args:
        module: On the CPU, so that the draws do not depend on a device.
        seed: Any integer.

    Returns:
        The same module.

    Raises:
        ValueError: The module is not on the CPU.
        TypeError: A layer has parameters but no ``reset_parameters``.
    """
    if any(parameter.device.type != "cpu" for parameter in module.parameters()):
        raise ValueError("initialise() draws on the CPU: call it before moving the module")
    with torch.random.fork_rng(devices=[]):
        for name, part in module.named_children():
            torch.default_generator.manual_seed(part_seed(seed, name))
            for layer in part.modules():
                _reset(layer)
    return module


def _reset(layer: nn.Module) -> None:
    reset = getattr(layer, "reset_parameters", None)
    if callable(reset):
        reset()
    elif any(True for _ in layer.parameters(recurse=False)):
        raise TypeError(f"{type(layer).__name__} has parameters but no reset_parameters()")
