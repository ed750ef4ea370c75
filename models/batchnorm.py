"""Two ways to run batch normalisation without touching its running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def frozen_batchnorm(module: nn.Module) -> Iterator[None]:
    """Normalise with the running statistics inside the context, as in evaluation.

    The meta step needs it: the losses become smooth functions of the parameters alone, forward-mode
    differentiation works (training mode writes a counter in place), and nothing is updated.
    Other layers keep their mode; the former modes come back at the end.
    """
    layers = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise with the batch's own statistics inside the context, but do not record them.

    For every view but the first: only view A may move the running statistics, so that all cells
    of a study evaluate with statistics of the same kind of clip. No effect in evaluation mode.
    """
    layers = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
