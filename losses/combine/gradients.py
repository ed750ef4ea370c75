"""How the gradients of several losses lie to each other, without a backward pass per loss.

The gradients are taken at what the encoders put out: each loss runs back through its own head
alone, and the backbone is passed once, by the combined loss. The same at the weights of the model
costs a backward pass per loss.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class HasSubmodules(Protocol):
    """A torch module, as far as is asked here."""

    def get_submodule(self, target: str) -> nn.Module: ...


Points = dict[str, list[Tensor]]
"""Name -> tensors where gradients are taken; those of one name and shape count as one place."""


@contextmanager
def recorded(model: HasSubmodules, modules: Sequence[str]) -> Iterator[Points]:
    """Collect what some modules put out while the context lasts.

    Every call appends one tensor, the first where a module returns several; one without gradient
    is left out. Views of the same clips then lie in one list of equal shapes: their gradients are
    added up, as for a shift of the clip's representation in every view. Otherwise a loss on a
    masked view would never agree or conflict with one on the whole clip.
    """
    points: Points = {name: [] for name in modules}

    def collect(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            first = output if isinstance(output, Tensor) else output[0]
            if first.requires_grad:
                points[name].append(first)

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [collect(name) for name in modules]
    try:
        yield points
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class LossGradients:
    """Gradients of single losses at some tensors.

    Attributes:
        gram: Inner products, ``(losses, losses)``, float32 or wider; zero where nothing is shared.
        tensors: Where the gradients were taken.
        rows: One gradient per loss for each of them; None where the loss does not reach it.
    """

    gram: Tensor
    tensors: list[Tensor]
    rows: list[list[Tensor | None]]

    def backward(self, root: Tensor, weights: Tensor) -> None:
        """Backward pass of ``root``, in which ``tensors`` pass on the weighted gradients instead.

        What lies before them gets the weighted direction, what lies behind them (heads of the
        losses) the gradient of ``root``, in one pass.

        Args:
            root: Scalar, the plain sum of the losses.
            weights: ``(losses,)``.
        """
        factors = weights.tolist()
        handles = []
        for tensor, row in zip(self.tensors, self.rows, strict=True):
            pairs = zip(factors, row, strict=True)
            direction = sum(
                (factor * g for factor, g in pairs if g is not None), torch.zeros_like(tensor)
            )
            handles.append(tensor.register_hook(lambda _, new=direction: new))
        try:
            root.backward()
        finally:
            for handle in handles:
                handle.remove()


def loss_gradients(
    losses: Sequence[Tensor],
    points: Mapping[str, Sequence[Tensor]],
    *,
    shared_only: bool = False,
    average: Callable[[Tensor], Tensor] | None = None,
) -> LossGradients:
    """Gradients of each loss; the graph is kept for the backward pass that follows.

    Args:
        losses: Scalars. Of a stacked vector, every loss would reach all places, with zeros.
        points: See :data:`Points`; no tensor may depend on another, or what lies behind both
            counts twice.
        shared_only: Leave out places that a single loss reaches, as if they were part of its head.
            They change no inner product of two losses, but lengths and cosines. With one loss all
            places count.
        average: Mean of a vector over the processes of a data-parallel run, where the places are
            parameters, of which each process has a gradient of its own.
    """
    places = [(name, tensor) for name, tensors in points.items() for tensor in tensors]
    flat = [tensor for _, tensor in places]
    found: list[tuple[Tensor | None, ...]] = []
    row: Sequence[Tensor | None]
    for loss in losses if flat else ():
        if loss.requires_grad:
            row = torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True)
            found.append(tuple(row) if average is None else _averaged(row, average))
        else:  # a constant, where a batch has nothing for it
            found.append((None,) * len(flat))
    dtype = torch.promote_types(losses[0].dtype, torch.float32)
    gram = torch.zeros(len(losses), len(losses), dtype=dtype, device=losses[0].device)
    groups: dict[tuple[str, torch.Size], list[int]] = {}
    for column, (name, tensor) in enumerate(places):
        groups.setdefault((name, tensor.shape), []).append(column)
    kept: list[int] = []
    for columns in groups.values():
        sums: dict[int, Tensor] = {}  # loss -> its gradient, summed over the views
        for index, row in enumerate(found):
            parts = [part.to(dtype).flatten() for c in columns if (part := row[c]) is not None]
            if parts:
                sums[index] = torch.stack(parts).sum(0)
        if not sums or (shared_only and len(sums) == 1 < len(losses)):
            continue
        kept += columns
        matrix = torch.stack(list(sums.values()))
        reached = torch.tensor(list(sums), device=gram.device)
        gram[reached[:, None], reached] += matrix @ matrix.T
    return LossGradients(
        gram, [flat[column] for column in kept], [[row[c] for row in found] for c in kept]
    )


def _averaged(
    row: Sequence[Tensor | None], average: Callable[[Tensor], Tensor]
) -> tuple[Tensor | None, ...]:
    """The mean of every gradient that is there, as one vector on the wire."""
    present = [part for part in row if part is not None]
    if not present:
        return tuple(row)
    flat = average(torch.cat([part.flatten() for part in present]))
    new = iter(flat.split([part.numel() for part in present]))
    return tuple(None if part is None else next(new).view_as(part) for part in row)


def gram_matrix(
    losses: Tensor | Sequence[Tensor],
    points: Mapping[str, Sequence[Tensor]],
    *,
    shared_only: bool = False,
) -> Tensor:
    """Inner products alone, ``(losses, losses)``; see :func:`loss_gradients`."""
    return loss_gradients(list(losses), points, shared_only=shared_only).gram


def cosines(gram: Tensor) -> Tensor:
    """Cosines between gradients, ``(losses, losses)``; 0 where one of both is zero."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    product = norms * norms[:, None]
    return torch.where(product > 0, gram / product, 0).clamp(-1, 1)
