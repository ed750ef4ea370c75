"""MELTR against stored numbers of the published code: module, meta step and losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from losses.auxiliary.allinone_vtc import allinone_vtc
from losses.combine.meltr import Meltr
from losses.combine.meta import MetaOptimizer, meta_gradient
from losses.parts.fusion import token_cross_entropy
from losses.parts.masked_frames import frame_nce
from losses.parts.pairs import max_margin, mil_nce, row_nce
from losses.parts.similarity import cosines, masked_mean
from sweep.metrics.retrieval import retrieval

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


def check_losses(read) -> None:
    """The losses of UniVL, VIOLET and All-in-one on features or scores, with gradients."""
    scores = _tensor(read.input("sim"))
    everything = torch.ones(scores.shape, dtype=torch.bool)

    def row(x):
        return row_nce(x, everything)

    _value_and_gradients(read, "align_ce", row, scores)
    _value_and_gradients(read, "violet_vtm", lambda x: row(x / 0.05), scores)
    _value_and_gradients(
        read, "joint_maxmargin", lambda x: max_margin(x, everything, margin=0.1), scores
    )
    block, pairs = int(read.input("n_pair")), _tensor(read.input("sim_pairs"))

    def margin_of_blocks(x):
        return max_margin(x, everything, margin=0.1, block=block, hard_rate=0.5)

    _value_and_gradients(read, "joint_maxmargin_npair", margin_of_blocks, pairs)
    _value_and_gradients(
        read, "milnce", lambda x: mil_nce(x, everything, block=block), pairs, rtol=1e-4, atol=1e-7
    )
    hidden = torch.from_numpy(read.input("mfm_labels") >= 0)
    present = torch.from_numpy(read.input("video_mask") > 0)
    _value_and_gradients(
        read,
        "mfm",
        lambda predicted, frames: frame_nce(predicted, frames, hidden, present),
        _tensor(read.input("mfm_pred")),
        _tensor(read.input("mfm_target")),
        rtol=1e-4,
        atol=1e-7,
    )
    words = torch.from_numpy(read.input("mlm_labels"))
    _value_and_gradients(
        read, "mlm", lambda x: token_cross_entropy(x, words), _tensor(read.input("mlm_logits"))
    )
    text, video = _tensor(read.input("itc_text")), _tensor(read.input("itc_video"))
    ids = torch.arange(len(text)).unsqueeze(1)
    _value_and_gradients(
        read,
        "ind_itc",
        lambda t, v: allinone_vtc(video_embed=v, text_embed=t, caption_ids=ids),
        text,
        video,
    )
    read.compare("itc_sim", cosines(text, video), **FLOAT64)
    words = torch.from_numpy(read.input("text_mask") > 0)
    words[:, 0] = False  # the sentence token does not count
    text = masked_mean(_tensor(read.input("text_feats")), words)
    video = masked_mean(_tensor(read.input("video_feats")), present)
    read.compare("joint_sim", cosines(text, video), **FLOAT64)
    for name in ("metrics", "metrics_ties"):
        table = read.input(name.replace("metrics", "metrics_sim"))
        found = retrieval(table, ties="reference")
        ours = [*(found.recall[cut] / 100 for cut in (1, 5, 10)), found.median_rank]
        read.compare(name, ours, **FLOAT64)


def _value_and_gradients(read, name: str, loss, *inputs: Tensor, **tolerance) -> None:
    """``<name>/value`` and ``<name>/grad<k>`` with respect to the inputs in order."""
    leaves = [value.clone().requires_grad_() for value in inputs]
    value = loss(*leaves)
    tolerance = tolerance or FLOAT64
    read.compare(f"{name}/value", value, **tolerance)
    for index, gradient in enumerate(torch.autograd.grad(value, leaves)):
        read.compare(f"{name}/grad{index}", gradient, **tolerance)


FORMATS = {
    "meltr_module": check_module,
    "meltr_bilevel": check_bilevel,
    "meltr_losses": check_losses,
}
