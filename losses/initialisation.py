"""Initial weights of a loss or combiner: a function of the seed, its name and the part's name.

A loss then starts equally in every cell of a study, whichever other losses stand beside it.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def part_seed(seed: int, name: str) -> int:
    """A seed below 2**63 for the part ``name``; equal inputs give equal seeds everywhere."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def initialise(module: Module, seed: int, name: str) -> Module:
    """Draw every part of ``module`` anew, each from its own random stream.

    Each layer draws by its ``reset_parameters``, which concerns the parameters of that layer
    alone. The global random state is left as it was.

    Args:
        module: On the CPU, so that the draws do not depend on a device.
        seed: Any integer.
        name: Name of the loss or combiner.

    Returns:
        The same module.

    Raises:
        ValueError: The module is not on the CPU.
        TypeError: A layer has parameters but no ``reset_parameters``.
    """
    if any(parameter.device.type != "cpu" for parameter in module.parameters()):
        raise ValueError("initialise() draws on the CPU: call it before moving the module")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(part_seed(seed, name))
        _reset(module)
        for part_name, part in module.named_children():
            torch.default_generator.manual_seed(part_seed(seed, f"{name}/{part_name}"))
            for layer in part.modules():
                _reset(layer)
    return module


def _reset(layer: nn.Module) -> None:
    reset = getattr(layer, "reset_parameters", None)
    if callable(reset):
        reset()
    elif any(True for _ in layer.parameters(recurse=False)):
        raise TypeError(f"{type(layer).__name__} has parameters but no reset_parameters()")
