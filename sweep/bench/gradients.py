"""Row about the gradients of the losses: at the shared representation against full backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from losses.combine.gradients import cosines, gram_matrix, recorded
from losses.diversity import vendi
from sweep.bench.measure import Row, UnequalError, interleave
from sweep.bench.training import ONE_VIEW, learner

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    steps = _Steps(device)
    error, (shallow, deep) = _compared(steps)
    cost = interleave(steps.plain, steps.ours, device=device, repeats=7)["ratio"]
    timing = interleave(steps.ours, steps.peer, device=device, repeats=7)
    scores = [vendi(found.double().cpu().numpy()) for found in (shallow, deep)]
    return Row(
        name=f"gradient cosines, k = {len(steps.learner.names)}",
        peer="forward and backward per loss",
        goal=3.5,
        error=f"cosines and gradients differ by {error:.0e}",
        note=(
            f"{cost:.2f} plain steps (aim {PLAIN_AT_MOST:g}); Vendi score at the representation "
            f"{scores[0]:.2f}, at the weights {scores[1]:.2f}"
        ),
        **timing,
    )


class _Steps:
    """The same training step in four ways; each leaves the gradient of the sum of all losses.

    Those that compare gradients return their cosines ``(k, k)``.
    """

    def __init__(self, device: str) -> None:
        self.learner, batches = learner(ONE_VIEW, device=device)
        self.batch = batches(0)
        self.learner.train()

    def plain(self) -> None:
        """Without cosines."""
        self.learner.zero_grad(set_to_none=True)
        self.learner(self.batch).sum().backward()

    def ours(self) -> Tensor:
        """Cosines where the encoders end."""
        self.learner.zero_grad(set_to_none=True)
        model = self.learner.model
        with recorded(model, model.shared) as points:
            values = self.learner.separate(self.batch)
        found = cosines(gram_matrix(values, points))
        torch.stack(values).sum().backward()
        return found

    def peer(self) -> Tensor:
        """Cosines of the gradients of the weights, one forward and backward per loss."""
        rows = []
        total: dict[str, Tensor] = {}
        shared = dict(self.learner.model.named_parameters())
        for name in self.learner.names:
            self.learner.zero_grad(set_to_none=True)
            self.learner(self.batch, only=(name,)).sum().backward()
            for key, p in self.learner.named_parameters():
                if p.grad is not None:
                    total[key] = total.get(key, torch.zeros_like(p)) + p.grad
            rows.append(_flat([p.grad for p in shared.values()], list(shared.values())))
        for key, p in self.learner.named_parameters():
            p.grad = total.get(key)
        matrix = torch.stack(rows)
        return cosines(matrix @ matrix.T)

    def at_the_place(self) -> Tensor:
        """What ours has to give, by one backward per loss; leaves no gradient."""
        model = self.learner.model
        with recorded(model, model.shared) as points:
            values = self.learner(self.batch)
        places = [tensor for tensors in points.values() for tensor in tensors]
        rows = [
            _flat(torch.autograd.grad(v, places, retain_graph=True, allow_unused=True), places)
            for v in values
        ]
        unit = torch.nn.functional.normalize(torch.stack(rows), dim=1)
        return unit @ unit.T

    def gradient(self) -> Tensor:
        """What the last step left, as one vector."""
        parameters = self.learner.parameters()
        return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def _flat(gradients: Sequence[Tensor | None], of: Sequence[Tensor]) -> Tensor:
    """One vector; a gradient that does not exist is zero."""
    pairs = zip(gradients, of, strict=True)
    return torch.cat([(torch.zeros_like(t) if g is None else g).flatten() for g, t in pairs])


def _compared(steps: _Steps) -> tuple[float, tuple[Tensor, Tensor]]:
    """Largest error of cosines and gradient, and the cosines of ours and of the peer.

    Raises:
        UnequalError: It is too large.
    """
    shallow = steps.ours()
    own = steps.gradient()
    error = float((shallow - steps.at_the_place()).abs().max())
    deep = steps.peer()
    error = max(error, float((own - steps.gradient()).norm() / own.norm()))
    if error > MAX_ERROR:
        raise UnequalError(f"gradient cosines: differ by {error:.2e}")
    return error, (shallow, deep)
