"""The meta step: move a learned combiner so that training on it lowers the primary loss.

With w the model's parameters, phi the combiner's, l(w) the losses on a training batch and J the
primary loss on a validation batch plus ``gamma`` times the distance of M(l) from the plain sum:

    v = dJ/dw,    h = - d/dphi < v, d M(l(w)) / dw >  (+ direct term dJ/dphi)

The inverse Hessian of exact implicit differentiation is replaced by the identity, as in the
published code (arXiv:2303.13009). M sees w through the losses alone, so with the numbers
s_t = < v, dl_t/dw > the same h is - d/dphi sum_t s_t dM/dl_t: no second derivative of the model is
taken, and s comes from one forward-mode pass. The other methods give the same s or, as oracle for
tests, differentiate twice through the model.

Quirk: fixed; the published code drops the direct term, so its regulariser hardly restrains M.
``direct_term=False`` drops it too.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from losses.catalogue import nearest
from losses.combine.meta_signal import MetaSignal
from losses.combine.slopes import slopes

log = logging.getLogger(__name__)
Parameters = dict[str, Tensor]
Average = Callable[[Tensor], Tensor]
METHODS = ("jvp", "fd", "loop", "double_backward")
"""Ways to differentiate: one forward-mode pass; central difference (two passes); one backward pass
per loss; twice through the model (the oracle).

``fd`` needs no derivative rules, but its s is about 1 % off and it sees through ``detach``: where a
loss holds something that depends on ``params`` fixed (see ``LossSpec.detached``), ``fd`` gives the
derivative of another function. Not for such losses."""
AUTO = "auto"
"""``jvp`` where it runs and agrees with ``loop``, else ``loop``; see :func:`choose_method`."""
DATA = ("memory", "current", "holdout")
AGREEMENT = 1e-3
"""Relative difference of two methods that rounding explains, in float32."""
DIFFERENCE_STEP = 1e-3
"""Length of the central difference's step in parameter space."""


@dataclass(frozen=True)
class MetaResult:
    """What one meta pass found; all tensors are detached.

    Attributes:
        grads: Combiner's parameter name -> gradient; None where nothing depends on it.
        v: Model's parameter name -> dJ/dw, zero where J does not depend on it.
        v_norm: Euclidean norm of all of ``v``.
        s: ``(losses,)``, directional derivatives of the losses along ``v``.
        slopes: ``(losses,)``, dM/dl.
        losses: ``(losses,)`` on the training batch.
        val: Primary loss on the validation batch.
        regulariser: Distance of M from the sum on the training batch, also where ``gamma`` is 0.
    """

    grads: dict[str, Tensor | None]
    v: Parameters
    v_norm: Tensor
    s: Tensor
    slopes: Tensor
    losses: Tensor
    val: Tensor
    regulariser: Tensor


def meta_gradient(
    combiner: nn.Module,
    params: Mapping[str, Tensor],
    train_losses: Callable[[Parameters], Tensor],
    val_primary: Callable[[Parameters], Tensor],
    *,
    method: str = "jvp",
    gamma: float = 0.1,
    direct_term: bool = True,
    average: Average | None = None,
) -> MetaResult:
    """Gradient for the combiner's parameters.

    Nothing is written: neither parameters nor their ``.grad``. Each evaluation of a callable
    starts from the same random state, which is left as found, so that dropout draws one mask.

    Args:
        combiner: Losses ``(K,)`` -> scalar; its ``base``, if it has one, replaces the plain sum.
        params: Name -> floating tensor; all that the callables may depend on and J is to move.
        train_losses: Parameters -> losses ``(K,)`` on the training batch. Batch normalisation must
            not record statistics meanwhile.
        val_primary: Parameters -> primary loss on the validation batch, scalar.
        method: One of :data:`METHODS`, or ``auto``.
        gamma: Factor of the regulariser, at least 0; 0 turns it off.
        direct_term: Whether the regulariser acts on the combiner directly too.
        average: Mean of a vector over the processes of a data-parallel run; all must call with the
            same ``params`` and combiner. It is called twice: for v, then for s, the losses and
            the validation loss. All processes then find the same gradients, and their combiners
            stay equal (the published code averages nothing, so that they drift apart).

    Raises:
        ValueError: Unknown method, negative ``gamma``, ``fd`` with parameters below 32 bits, or
            ``double_backward`` with ``average``.
    """
    _check(method, gamma, params)
    if method == AUTO:
        method = choose_method(params, train_losses, average=average)
    if average is not None and method == "double_backward":
        raise ValueError("meta step: double_backward is for one process, use jvp or loop")
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    train, validate = _replayed(train_losses, params), _replayed(val_primary, params)
    with _kernels(method):
        val = validate(leaves)
        v = _gradient(val, leaves)
        losses: Tensor | None = None
        if gamma > 0 or method in ("loop", "double_backward"):
            losses = train(leaves)
        if gamma > 0:
            assert losses is not None
            pull = gamma * _distance(combiner, losses)
            keep = method in ("loop", "double_backward")
            v = {n: v[n] + g for n, g in _gradient(pull, leaves, retain_graph=keep).items()}
        if average is not None:
            v = _averaged(v, average)
        point, s = _directional(method, train, leaves, v, losses)
        if average is not None:
            joint = average(torch.cat((point, s, val.detach().view(1))))
            point, s = joint[: len(s)].to(point.dtype), joint[len(s) : -1].to(s.dtype)
            val = joint[-1].to(val.dtype)
        result = point if method != "double_backward" else losses
        assert result is not None
        grads = _combiner_gradient(
            combiner, result, s, v, leaves, method=method, gamma=gamma if direct_term else 0.0
        )
    with torch.no_grad():
        regulariser = _distance(combiner, point)
        norm = torch.stack([part.square().sum() for part in v.values()]).sum().sqrt()
    return MetaResult(
        grads=grads,
        v=v,
        v_norm=norm,
        s=s,
        slopes=slopes(combiner, point),
        losses=point,
        val=val.detach(),
        regulariser=regulariser,
    )


def choose_method(
    params: Mapping[str, Tensor],
    train_losses: Callable[[Parameters], Tensor],
    *,
    average: Average | None = None,
) -> str:
    """``jvp`` if forward mode runs and agrees with one backward pass per loss, else ``loop``.

    ``loop`` is exact and runs with every kernel; ``fd`` is never chosen, because a loss may hold
    something fixed that it would move. The direction probed is the gradient of the losses' sum.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    train = _replayed(train_losses, params)
    losses = train(leaves)
    v = _gradient(losses.sum(), leaves, retain_graph=True)
    if average is not None:
        v = _averaged(v, average)
    _, expected = _directional("loop", train, leaves, v, losses)
    try:
        with _kernels("jvp"):
            _, found = _directional("jvp", train, leaves, v, None)
    except torch.OutOfMemoryError:
        raise
    except (NotImplementedError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        log.info("meta step: loop, because forward mode does not run here (%s)", reason)
        return "loop"
    if average is not None:
        found, expected = average(found), average(expected)
    error_norm, norm = float((found - expected).norm()), float(expected.norm())
    if error_norm <= AGREEMENT * norm:
        return "jvp"
    log.warning(
        "meta step: loop, because forward mode differs from it by %.1e of its length",
        error_norm / max(norm, 1e-300),
    )
    return "loop"


def _averaged(v: Parameters, average: Average) -> Parameters:
    """The mean of every direction, as one vector on the wire."""
    flat = average(torch.cat([part.flatten() for part in v.values()]))
    parts = flat.split([part.numel() for part in v.values()])
    return {name: new.view_as(old) for (name, old), new in zip(v.items(), parts, strict=True)}


def _check(method: str, gamma: float, params: Mapping[str, Tensor]) -> None:
    allowed = (AUTO, *METHODS)
    if method not in allowed:
        hint = nearest(method, allowed)
        raise ValueError(f"meta step: unknown method {method!r}{hint} ({', '.join(allowed)})")
    if not gamma >= 0:
        raise ValueError(f"meta step: gamma {gamma} is not at least 0")
    if method == "fd":
        low = [name for name, p in params.items() if p.element_size() < 4]
        if low:
            raise ValueError(
                f"meta step: method fd needs parameters of 32 bits, {low[0]} has "
                f"{params[low[0]].dtype}; differences would vanish in rounding (use jvp)"
            )


def _replayed(
    function: Callable[[Parameters], Tensor], params: Mapping[str, Tensor]
) -> Callable[[Parameters], Tensor]:
    """The function, started from the present random state at every call."""
    devices = sorted({p.get_device() for p in params.values() if p.is_cuda})

    def call(values: Parameters) -> Tensor:
        with torch.random.fork_rng(devices=devices):
            return function(values)

    return call


def _kernels(method: str) -> Any:
    """Fused attention has neither forward-mode nor second derivatives; only fd and loop may use it.

    The combiner's own attention is written out and needs nothing.
    """
    if method in ("jvp", "double_backward"):
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def _distance(combiner: nn.Module, losses: Tensor) -> Tensor:
    """How far the unified loss is from the sum that it replaces."""
    base = getattr(combiner, "base", None)
    total = losses.sum() if base is None else base(losses)
    return (total - combiner(losses)).abs()


def _gradient(value: Tensor, leaves: Parameters, *, retain_graph: bool = False) -> Parameters:
    """Derivatives by name, zero where ``value`` does not depend on a parameter."""
    found = torch.autograd.grad(
        value, list(leaves.values()), retain_graph=retain_graph, allow_unused=True
    )
    return {
        name: torch.zeros_like(leaf) if grad is None else grad
        for (name, leaf), grad in zip(leaves.items(), found, strict=True)
    }


def _directional(
    method: str,
    train: Callable[[Parameters], Tensor],
    leaves: Parameters,
    v: Parameters,
    losses: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The losses and their derivatives along ``v``, both ``(K,)`` and detached."""
    plain = {name: leaf.detach() for name, leaf in leaves.items()}
    if method == "jvp":
        with warnings.catch_warnings():
            # torch itself warns at the first forward-mode pass of a process
            warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)
            found: tuple[Any, ...] = torch.func.jvp(train, (plain,), (v,))
        value, s = found
        return value.detach(), s.detach()
    if method == "fd":
        return _central_difference(train, plain, v, losses)
    assert losses is not None
    keep = method == "double_backward"
    last = len(losses) - 1
    rows = [
        _dot(_gradient(one, leaves, retain_graph=keep or row < last), v)
        for row, one in enumerate(losses)
    ]
    return losses.detach(), torch.stack(rows)


@torch.no_grad()
def _central_difference(
    train: Callable[[Parameters], Tensor], plain: Parameters, v: Parameters, losses: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Parameters are moved in copies, so that the originals stay as they are, bit by bit."""
    value = train(plain) if losses is None else losses.detach()
    norm = _dot(v, v).sqrt()
    step = torch.where(norm > 0, DIFFERENCE_STEP / norm, 0)
    ahead = train({name: p + step * v[name] for name, p in plain.items()})
    behind = train({name: p - step * v[name] for name, p in plain.items()})
    return value, torch.where(norm > 0, (ahead - behind) / (2 * step), 0)


def _dot(a: Parameters, b: Parameters) -> Tensor:
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()


def _combiner_gradient(
    combiner: nn.Module,
    losses: Tensor,
    s: Tensor,
    v: Parameters,
    leaves: Parameters,
    *,
    method: str,
    gamma: float,
) -> dict[str, Tensor | None]:
    """Gradient h by parameter name; ``gamma`` is that of the direct term, 0 leaves it out."""
    phi = {name: p for name, p in combiner.named_parameters() if p.requires_grad}
    if method == "double_backward":
        total = -_second_derivative(combiner, losses, v, leaves)
    else:
        point = losses.detach().requires_grad_()
        (a,) = torch.autograd.grad(combiner(point), point, create_graph=True)
        total = -(s * a).sum()
    if gamma > 0:
        total = total + gamma * _distance(combiner, losses.detach())
    if not phi or not total.requires_grad:
        return dict.fromkeys(phi)
    found = torch.autograd.grad(total, list(phi.values()), allow_unused=True)
    return dict(zip(phi, found, strict=True))


def _second_derivative(
    combiner: nn.Module, losses: Tensor, v: Parameters, leaves: Parameters
) -> Tensor:
    """< v, d M(l(w)) / dw > with a graph, through the model."""
    found = torch.autograd.grad(
        combiner(losses), list(leaves.values()), create_graph=True, allow_unused=True
    )
    pairs = zip(found, v.values(), strict=True)
    return torch.stack([(g * one).sum() for g, one in pairs if g is not None]).sum()


class MetaOptimizer:
    """Adam for a combiner, fed with gradients from :func:`meta_gradient`.

    Args:
        combiner: Its parameters are moved.
        interval: Training steps from one meta step to the next, the first step included.
        method: See :func:`meta_gradient`.
        gamma: See :func:`meta_gradient`.
        direct_term: See :func:`meta_gradient`.
        data: Where the trainer takes the two batches from: ``memory`` of past batches, the
            ``current`` one, or ``holdout``: the validation batch from clips kept out of training,
            the other from memory.
        holdout_share: Share of the labelled training clips kept out for ``holdout``.
        lr: Learning rate.
        betas: Decay rates of Adam's averages.
        weight_decay: Added to the gradient, or with ``decoupled`` subtracted from the weights.
        decoupled: AdamW instead of Adam.
        clip_norm: Largest norm of the whole gradient.

    Attributes:
        steps: Meta steps taken.
        skipped: Meta steps left out because a number was not finite.
        signal: How much of the gradient was signal, loss by loss.

    Raises:
        ValueError: A setting out of range.
    """

    KNOBS = (
        "interval",
        "method",
        "gamma",
        "direct_term",
        "data",
        "holdout_share",
        "lr",
        "betas",
        "weight_decay",
        "decoupled",
        "clip_norm",
    )

    def __init__(
        self,
        combiner: nn.Module,
        *,
        interval: int = 3,
        method: str = "jvp",
        gamma: float = 0.1,
        direct_term: bool = True,
        data: str = "memory",
        holdout_share: float = 0.1,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        weight_decay: float = 3e-5,
        decoupled: bool = False,
        clip_norm: float = 50.0,
    ) -> None:
        _check(method, gamma, {})
        if interval < 1:
            raise ValueError(f"meta step: interval {interval} is not at least 1")
        if data not in DATA:
            hint = nearest(data, DATA)
            raise ValueError(f"meta step: unknown data {data!r}{hint} (data: {', '.join(DATA)})")
        if not 0 < holdout_share < 1:
            raise ValueError(f"meta step: holdout_share {holdout_share} is not between 0 and 1")
        if not clip_norm > 0:
            raise ValueError(f"meta step: clip_norm {clip_norm} is not above 0")
        self.interval = interval
        self.method = method
        self.gamma = gamma
        self.direct_term = direct_term
        self.data = data
        self.holdout_share = holdout_share
        self.clip_norm = clip_norm
        self.steps = 0
        self.skipped = 0
        self.signal = MetaSignal()
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        self._optimizer = kind(
            combiner.parameters(), lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay
        )

    def is_due(self, step: int) -> bool:
        """Whether the training step number ``step`` (from 0) is followed by a meta step."""
        return step % self.interval == 0

    def step(self, combiner: nn.Module, result: MetaResult) -> float | None:
        """Clip the gradient and move the combiner.

        A parameter without gradient is not touched, not even by weight decay. A gradient that is
        not finite moves nothing and is counted.

        Returns:
            The norm before clipping; None if the step was skipped.
        """
        found = [grad for grad in result.grads.values() if grad is not None]
        if not found:
            return 0.0
        norm = torch.stack([grad.square().sum() for grad in found]).sum().sqrt()
        total = float(norm + 0 * (result.val + result.losses.sum()))
        if not torch.isfinite(torch.tensor(total)):
            self.skipped += 1
            return None
        self.signal.add(result.s.tolist())
        scale = min(1.0, self.clip_norm / (total + 1e-6))
        for name, parameter in combiner.named_parameters():
            grad = result.grads.get(name)
            parameter.grad = None if grad is None else grad * scale
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        project = getattr(combiner, "project", None)
        if callable(project):
            project()
        self.steps += 1
        return total

    def state_dict(self) -> dict[str, Any]:
        """Everything that a continued training needs."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "method": self.method,
            "steps": self.steps,
            "skipped": self.skipped,
            "signal": self.signal.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state from :meth:`state_dict`."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.method = state.get("method", self.method)
        self.steps = state["steps"]
        self.skipped = state["skipped"]
        self.signal.load_state_dict(state.get("signal", {}))
