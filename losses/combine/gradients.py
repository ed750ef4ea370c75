"""How the gradients of several losses lie to each other, without a backward pass per loss.

The gradients are taken at what the encoders put out: each loss runs back through its own head
alone, and the backbone is passed once, by the combined loss. The same at the weights of the model
costs a backward pass per loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Points = dict[str, list[Tensor]]
"""Name -> tensors where gradients are taken; those of one name and shape count as one place."""


@contextmanager
def recorded(model: nn.Module, modules: Sequence[str]) -> Iterator[Points]:
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


def gram_matrix(losses: Tensor, points: Mapping[str, Sequence[Tensor]]) -> Tensor:
    """Inner products of the gradients of the losses.

    The graph of ``losses`` is kept for the backward pass that follows.

    Args:
        losses: ``(losses,)``.
        points: See :data:`Points`; no tensor may depend on another, or what lies behind both
            counts twice.

    Returns:
        ``(losses, losses)``, float32 or wider, detached; zero where nothing is shared.
    """
    flat = [tensor for tensors in points.values() for tensor in tensors]
    if not flat:
        return losses.new_zeros(len(losses), len(losses)).detach()
    wide = torch.promote_types(losses.dtype, torch.float32)
    found = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True)
        found.append(_vector(points, iter(gradients), wide))
    matrix = torch.stack(found)
    return matrix @ matrix.T


def _vector(
    points: Mapping[str, Sequence[Tensor]], gradients: Iterator[Tensor | None], dtype: torch.dtype
) -> Tensor:
    """One gradient as a vector: one part per name and shape, summed over its tensors."""
    parts: dict[tuple[str, torch.Size], Tensor] = {}
    for name, tensors in points.items():
        for tensor in tensors:
            place = (name, tensor.shape)
            gradient = next(gradients)
            if place not in parts:
                parts[place] = torch.zeros(tensor.shape, dtype=dtype, device=tensor.device)
            if gradient is not None:
                parts[place] = parts[place] + gradient.detach().to(dtype)
    return torch.cat([part.flatten() for part in parts.values()])


def cosines(gram: Tensor) -> Tensor:
    """Cosines between gradients, ``(losses, losses)``; 0 where one of both is zero."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    product = norms * norms[:, None]
    return torch.where(product > 0, gram / product, 0).clamp(-1, 1)
