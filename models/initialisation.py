"""Initial weights that depend on the seed and the part's name, and on nothing else.

Cells of a study are compared pair by pair, so the trunk of seed s must be the same whether or not
a text tower stands beside it. Drawing all parts from one random stream would break that.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


def part_seed(seed: int, name: str) -> int:
    """A seed below 2**63 for the part ``name``; equal inputs give equal seeds everywhere."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def stream_of(seed: int, name: str) -> Iterator[None]:
    """Draw from the stream of a part inside the context; the global state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(part_seed(seed, name))
        yield


def initialise(module: nn.Module, seed: int) -> None:
    """Draw every top-level part of ``module`` anew, each from its own random stream.

    A layer with ``reset_parameters`` is drawn by it, with everything inside. Other parameters
    (class tokens, position tables) stay as their constructor made them, and so does the inside of
    a module that says ``drawn_by_constructor = True``: construct it within :func:`stream_of`, as
    ``models.build`` does. The global random state is left as it was.

    Args:
        module: On the CPU, so that the draws do not depend on a device.
        seed: Any integer.

    Raises:
        ValueError: The module is not on the CPU.
    """
    if any(parameter.device.type != "cpu" for parameter in module.parameters()):
        raise ValueError("initialise() draws on the CPU: call it before moving the module")
    for name, part in module.named_children():
        with stream_of(seed, name):
            _draw(part)


def _draw(module: nn.Module) -> None:
    if getattr(module, "drawn_by_constructor", False):
        return
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for child in module.children():
        _draw(child)
