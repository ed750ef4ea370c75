"""Batch normalisation: over several processes, and without touching its running statistics."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class HasModules(Protocol):
    """A torch module, as far as is asked here."""

    def modules(self) -> Iterator[nn.Module]: ...


class JointBatchNorm(_BatchNorm):
    """Batch normalisation by the statistics of a batch that lies in parts in several processes.

    On the CPU too, and differentiable through the statistics, unlike ``nn.SyncBatchNorm``, which
    needs CUDA. Parameters, buffers and the state's names are those of the layer it is made from.

    Args:
        layer: Its parameters and buffers are used, not copied.
        total: Differentiable sum over the processes.
        processes: How many there are; all have parts of equal size.
    """

    def __init__(
        self, layer: _BatchNorm, total: Callable[[Tensor], Tensor], processes: int
    ) -> None:
        super().__init__(
            layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
        )
        self._parameters, self._buffers = layer._parameters, layer._buffers
        self.training = layer.training
        self.total = total
        self.processes = processes

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        if input.ndim < 2:
            raise ValueError(f"expected (n, channels, ...), got shape {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """``(n, channels, ...)`` -> the same shape."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        per_channel = (1, -1, *[1] * (input.ndim - 2))
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        size = self.processes * input.numel() // input.shape[1]
        mean = self.total(wide.sum(axes)) / size
        centred = wide - mean.view(per_channel)
        variance = self.total(centred.square().sum(axes)) / size
        if self.track_running_stats:
            self._record(mean.detach(), variance.detach() * size / max(1, size - 1))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        output = centred * scale.view(per_channel)
        if self.affine:
            output = output + self.bias.view(per_channel)
        return output.to(input.dtype)

    def _record(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            assert kept is not None
            kept.lerp_(new.to(kept.dtype), share)


def join_batchnorm(model: HasModules, total: Callable[[Tensor], Tensor], processes: int) -> None:
    """Put a :class:`JointBatchNorm` in the place of every batch-norm layer of ``model``."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(module, name, JointBatchNorm(child, total, processes))


@contextmanager
def frozen_batchnorm(module: HasModules) -> Iterator[None]:
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
def frozen_statistics(module: HasModules) -> Iterator[None]:
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
