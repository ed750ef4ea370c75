"""Row about the gradients of the losses: at the shared representation against full backwards."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.combine.gradients import cosines, gram_matrix, recorded
from losses.diversity import vendi
from sweep.bench.measure import Row, UnequalError, interleave
from sweep.bench.training import ONE_VIEW, learner

PLAIN_AT_MOST = 1.25
"""Cost of a step with cosines in plain steps that we aim for."""
MAX_ERROR = 1e-4


def gradient_cosine(device: str = "cpu") -> Row:
    """A training step that also tells how the gradients of five losses lie to each other.

    The peer runs forward and backward through everything for each loss, and compares gradients of
    the weights; ours compares them at what the encoders put out. These are two definitions of the
    cosine, so that what is checked is ours against full backwards to the same place, and the
    gradient of the sum against the peer's.
    """
    model, batches = learner(ONE_VIEW, device=device)
    batch = batches(0)
    model.train()

    def plain() -> None:
        model.zero_grad(set_to_none=True)
        model(batch).sum().backward()

    def ours() -> Tensor:
        model.zero_grad(set_to_none=True)
        with recorded(model.model, model.model.shared) as points:
            values = model.separate(batch)
        found = cosines(gram_matrix(values, points))
        torch.stack(values).sum().backward()
        return found

    def peer() -> Tensor:
        rows = []
        total: dict[str, Tensor] = {}
        shared = dict(model.model.named_parameters())
        for name in model.names:
            model.zero_grad(set_to_none=True)
            model(batch, only=(name,)).sum().backward()
            for key, p in model.named_parameters():
                if p.grad is not None:
                    total[key] = total.get(key, torch.zeros_like(p)) + p.grad
            flat = [
                torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
                for p in shared.values()
            ]
            rows.append(torch.cat(flat))
        for key, p in model.named_parameters():
            p.grad = total.get(key)
        matrix = torch.stack(rows)
        return cosines(matrix @ matrix.T)

    def at_the_place() -> Tensor:
        with recorded(model.model, model.model.shared) as points:
            values = model(batch)
        flat = [tensor for tensors in points.values() for tensor in tensors]
        rows = []
        for value in values:
            found = torch.autograd.grad(value, flat, retain_graph=True, allow_unused=True)
            pairs = zip(found, flat, strict=True)
            rows.append(
                torch.cat([(torch.zeros_like(t) if g is None else g).flatten() for g, t in pairs])
            )
        unit = torch.nn.functional.normalize(torch.stack(rows), dim=1)
        return unit @ unit.T

    def gradient() -> Tensor:
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    shallow, expected = ours(), at_the_place()
    error = float((shallow - expected).abs().max())
    own = gradient()
    deep = peer()
    error = max(error, float((own - gradient()).norm() / own.norm()))
    if error > MAX_ERROR:
        raise UnequalError(f"gradient cosines: differ by {error:.2e}")
    cost = interleave(plain, ours, device=device, repeats=7)["ratio"]
    timing = interleave(ours, peer, device=device, repeats=7)
    scores = [vendi(c.double().cpu().numpy()) for c in (shallow, deep)]
    return Row(
        name=f"gradient cosines, k = {len(model.names)}",
        peer="forward and backward per loss",
        goal=3.5,
        error=f"cosines and gradients differ by {error:.0e}",
        note=(
            f"{cost:.2f} plain steps (aim {PLAIN_AT_MOST:g}); Vendi score at the representation "
            f"{scores[0]:.2f}, at the weights {scores[1]:.2f}"
        ),
        **timing,
    )
