"""MELTR against stored numbers of the published code: module, meta step and losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from losses.combine.meltr import Meltr
from losses.combine.meta import MetaOptimizer, meta_gradient

FLOAT64 = {"rtol": 1e-9, "atol": 1e-11}
FLOAT32 = {"rtol": 2e-4, "atol": 2e-6}


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float64))


def _inputs(read, prefix: str) -> dict[str, Tensor]:
    names = [name for name in read.names if name.startswith(prefix)]
    return {name.removeprefix(prefix): _tensor(read.input(name)) for name in names}


def _published(count: int, hidden: int, width: int, feedforward: int) -> Meltr:
    """The module of the publication, in float64."""
    names = [f"loss{index}" for index in range(count)]
    module = Meltr(
        names=names,
        primary=names[0],
        output="plain",
        input="raw",
        hidden=hidden,
        width=width,
        feedforward=feedforward,
    )
    return module.double().eval()


def _load(module: Meltr, weights: dict[str, Tensor]) -> None:
    """Every parameter must be given, by the published names, and nothing else."""
    parameters = dict(module.named_parameters())
    if set(parameters) != set(weights):
        raise ValueError(f"parameters differ: {sorted(set(parameters) ^ set(weights))}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def _compare_all(read, prefix: str, ours: dict[str, Tensor], *, note: str = "", **tolerance):
    """Every stored array under ``prefix``; one that we lack counts as a shape mismatch."""
    for name in read.names:
        if name.startswith(prefix):
            mine = ours.get(name.removeprefix(prefix), torch.empty(0))
            read.compare(name, mine, note=note, **tolerance)


def check_module(read) -> None:
    """Values, slopes, curvature and parameter gradients of the module."""
    count, feedforward, _, hidden, width, _ = (int(n) for n in read.input("dims"))
    read.input("seed")
    read.input("loss_ids")
    tolerance = FLOAT64 if read.input("losses").dtype == np.float64 else FLOAT32
    module = _published(count, hidden, width, feedforward)
    read.compare("n_params", sum(p.numel() for p in module.parameters()))
    _load(module, _inputs(read, "weight/"))
    losses = _tensor(read.input("losses"))
    read.compare("output", torch.stack([module(row) for row in losses]), **tolerance)
    jacobian = [torch.autograd.functional.jacobian(module, row) for row in losses]
    read.compare("grad_losses", torch.stack(jacobian), **tolerance)
    hessian = [torch.autograd.functional.hessian(module, row) for row in losses]
    read.compare("hess_losses", torch.stack(hessian), **tolerance)
    parameters = dict(module.named_parameters())
    rows = []
    for row in losses:
        gradient = torch.autograd.grad(module(row), list(parameters.values()))
        rows.append(dict(zip(parameters, gradient, strict=True)))
    _compare_all(read, "gradw0/", rows[0], **tolerance)
    norms = {name: torch.stack([row[name].norm() for row in rows]) for name in parameters}
    _compare_all(read, "gradw_norm/", norms, **tolerance)


def _toy_losses(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Two tanh layers and one linear head per loss, mean squared errors; primary first."""
    hidden = x
    for layer in ("fc1", "fc2"):
        hidden = torch.tanh(
            nn.functional.linear(hidden, weights[f"{layer}.weight"], weights[f"{layer}.bias"])
        )
    heads = ["head_pri", *(f"head_aux.{index}" for index in range(y.shape[1] - 1))]
    outputs = [
        nn.functional.linear(hidden, weights[f"{head}.weight"], weights[f"{head}.bias"])
        for head in heads
    ]
    return torch.stack([(out - y[:, i]).square().mean() for i, out in enumerate(outputs)])


def check_bilevel(read) -> None:
    """One inner step and one meta step, the hypergradient in all our ways."""
    count, _, _, _, _, feedforward, hidden, width = (int(n) for n in read.input("cfg/dims"))
    read.input("cfg/seed")
    gamma, lr, decay, beta1, beta2, clip_norm, sgd, decoupled = (
        float(n) for n in read.input("cfg/hyper")
    )
    combiner = _published(count, hidden, width, feedforward)
    _load(combiner, _inputs(read, "meltr0/"))
    model = {name: p.requires_grad_() for name, p in _inputs(read, "model0/").items()}
    batch = _inputs(read, "batch/")

    losses = _toy_losses(model, batch["x_inner"], batch["y_inner"])
    unified = combiner(losses)
    gradient = torch.autograd.grad(unified, list(model.values()))
    inner = dict(zip(model, gradient, strict=True))
    read.compare("inner/losses", losses, **FLOAT64)
    read.compare("inner/unified", unified, **FLOAT64)
    _compare_all(read, "inner_grad/", inner, **FLOAT64)
    model = {name: (p - sgd * inner[name]).detach() for name, p in model.items()}
    _compare_all(read, "model1/", model, **FLOAT64)

    def found(method: str, direct_term: bool = False):
        return meta_gradient(
            combiner,
            model,
            lambda weights: _toy_losses(weights, batch["x_train"], batch["y_train"]),
            lambda weights: _toy_losses(weights, batch["x_val"], batch["y_val"])[0],
            method=method,
            gamma=gamma,
            direct_term=direct_term,
        )

    result = found("jvp")
    read.compare("meta/val_primary", result.val, **FLOAT64)
    read.compare("meta/val_total", result.val + gamma * result.regulariser, **FLOAT64)
    read.compare("meta/train_losses", result.losses, **FLOAT64)
    read.compare("meta/train_unified", combiner(result.losses), **FLOAT64)
    read.compare("meta/reg", result.regulariser, **FLOAT64)
    _compare_all(read, "meta_dval_dw/", result.v, **FLOAT64)
    unused = [name for name in result.v if f"meta_dval_dw/{name}" not in read.names]
    if any(result.v[name].any() for name in unused):
        raise AssertionError(f"v is not zero where the file has none: {unused}")

    stored = [n.removeprefix("hypergrad/") for n in read.names if n.startswith("hypergrad/")]
    for method in ("jvp", "loop", "double_backward"):
        grads = {n: g for n, g in found(method).grads.items() if g is not None}
        if set(grads) != set(stored):
            raise AssertionError(f"{method}: gradients for other parameters: {sorted(grads)}")
        _compare_all(read, "hypergrad/", grads, note=method, **FLOAT64)
    h = _flat(result.grads, stored)
    error = float((_flat(found("fd").grads, stored) - h).norm() / h.norm())
    read.judge("hypergrad_norm", error, 1e-5, "central difference: relative error of all of h")
    read.compare("hypergrad_norm", h.norm(), **FLOAT64)
    if any(name.startswith("meta_direct_dropped/") for name in read.names):
        with_term, without = found("jvp", direct_term=True).grads, result.grads
        dropped = {
            name: grad - (0 if without[name] is None else without[name])
            for name, grad in with_term.items()
            if grad is not None
        }
        _compare_all(read, "meta_direct_dropped/", dropped, **FLOAT64)

    optimizer = MetaOptimizer(
        combiner,
        gamma=gamma,
        lr=lr,
        betas=(beta1, beta2),
        weight_decay=decay,
        decoupled=bool(decoupled),
        clip_norm=clip_norm,
    )
    norm = optimizer.step(combiner, result)
    scale = min(1.0, clip_norm / (norm + 1e-6))
    clipped = {n: g * scale for n, g in result.grads.items() if g is not None}
    _compare_all(read, "hypergrad_clipped/", clipped, **FLOAT64)
    _compare_all(read, "meltr1/", dict(combiner.named_parameters()), **FLOAT64)


def _flat(grads: dict[str, Tensor | None], names: list[str]) -> Tensor:
    return torch.cat([grads[name].flatten() for name in names])


FORMATS = {"meltr_module": check_module, "meltr_bilevel": check_bilevel}
