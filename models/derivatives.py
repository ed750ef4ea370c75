"""Losses as smooth functions of the parameters alone: what forward-mode differentiation needs."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.batchnorm import frozen_batchnorm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.batchnorm import HasModules

#: Layers of libraries that leave out residuals at random.
_DROP_PATHS = ("StochasticDepth", "DropPath")


@contextmanager
def meta_pass(module: HasModules) -> Iterator[None]:
    """Batch norm and random layers as in evaluation, and attention by plain products.

    The fused kernels of attention have no forward-mode derivative and no second one; one loss that
    is asked twice must give one number (finite differences, loops over losses). Other layers keep
    their mode; the former modes come back at the end. Gradient checkpointing must be off.
    """
    random = [m for m in module.modules() if m.training and _is_random(m)]
    with ExitStack() as stack:
        stack.enter_context(frozen_batchnorm(module))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for layer in random:
            layer.training = False
        try:
            yield
        finally:
            for layer in random:
                layer.training = True


def _is_random(module: nn.Module) -> bool:
    dropout = isinstance(module, nn.modules.dropout._DropoutNd)
    return dropout or type(module).__name__.endswith(_DROP_PATHS)
