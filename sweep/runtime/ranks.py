"""The processes of a trial that trains data-parallel; each is a rank of torch's default group.

A batch of a trial with n ranks is the batch of a trial with one, cut into n equal parts. Each rank
encodes its part; then :func:`gather` brings the features together, and every rank computes all
losses of the whole batch. So a contrastive loss sees all pairs, whatever a loss counts it counts
over the batch, and combiners see the same numbers everywhere.

Gradients: going back through :func:`gather`, a rank gets n times the gradient at its own part. The
*mean over ranks* of any parameter's gradient is then that of one process: of an encoder's, since
the n parts add up, and of a loss's own parameters, since all ranks found the same.

Without a process group there is one rank, and everything here is the identity.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Content = TypeVar("Content")


def count() -> int:
    """Ranks of this trial, at least 1."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def index() -> int:
    """Number of this rank, from 0."""
    return dist.get_rank() if count() > 1 else 0


def part(size: int) -> slice:
    """Where this rank's part of ``size`` things lies; parts differ by one thing at most."""
    return slice(size * index() // count(), size * (index() + 1) // count())


def gather(x: Tensor) -> Tensor:
    """The parts of all ranks along the first axis, all of the same shape; differentiable."""
    return x if count() == 1 else _Gather.apply(x)


def total(x: Tensor) -> Tensor:
    """Sum over the ranks, differentiable: what one rank adds, the losses of all ranks feel."""
    return x if count() == 1 else _Total.apply(x)


def mean(x: Tensor) -> Tensor:
    """Mean over the ranks, equal bit by bit on all of them; without gradient."""
    return x if count() == 1 else _sum(x.detach()) / count()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every ``.grad`` by its mean over the ranks; one message."""
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = mean(torch.cat([g.flatten() for g in gradients]))
    for gradient, new in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(new.view_as(gradient))


def from_first(content: Content | None) -> Content:
    """What rank 0 gave, on all ranks; what the others give is not read."""
    box: list[Any] = [content]
    if count() > 1:
        dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_objects(content: Content) -> list[Content]:
    """What every rank gave, in order of ranks; pickled on the way."""
    found: list[Any] = [content]
    if count() > 1:
        found = [None] * count()
        dist.all_gather_object(found, content)
    return found


@contextmanager
def group(backend: str, address: str, *, rank: int, ranks: int) -> Iterator[None]:
    """Be a rank while the context lasts; Ray Train does the same for the workers of a trial.

    Args:
        backend: ``gloo`` or ``nccl``.
        address: Such as ``tcp://HOST:PORT`` or ``file://PATH``; the same on all ranks.
        rank: Number of this process.
        ranks: How many there are.
    """
    dist.init_process_group(backend, init_method=address, rank=rank, world_size=ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _sum(x: Tensor) -> Tensor:
    found = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(found)
    return found


def _gathered(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(count())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """Forward mode gathers tangents, so that the meta step's ``jvp`` needs no case of its own."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _gathered(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG004
        return grad[part(len(grad))] * count()

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG004
        return _gathered(tangent)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _sum(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG004
        return _sum(grad)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG004
        return _sum(tangent)
