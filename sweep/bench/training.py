"""Rows about training: the shared forward and the meta step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import losses
import models
from losses.combine.meta import meta_gradient
from losses.views import data_features, needs_captions
from models.words import Vocabulary
from sweep.bench.measure import Row, UnequalError, interleave
from sweep.data.sources import StoredClips
from sweep.settings.losses import TrialLoss
from sweep.settings.train import TrainSettings
from sweep.training.batches import Batches, Clips
from sweep.training.learner import PRIMARY, Learner

if TYPE_CHECKING:
    from collections.abc import Callable

#: Five losses on one view of the clip.
ONE_VIEW = ("caption", "frame_difference", "infonce", "pixel")
#: Auxiliary losses of the meta step, on up to three views; the first k - 1 are taken.
META = (
    "frame_difference", "infonce", "masked_frame", "pixel", "siglip", "masked_text", "consistency",
)  # fmt: skip
MAX_GRADIENT_ERROR = 1e-4
MAX_META_ERROR = 1e-5


def learner(names: tuple[str, ...], *, device: str, batch: int = 16) -> tuple[Learner, Batches]:
    """A tiny model with these losses on random clips."""
    words = [f"word{i}" for i in range(60)]
    vocabulary = Vocabulary.of([" ".join(words)], max_words=10)
    text = needs_captions(names)
    heads = {"classes": 8, "joint": 64} if text else {"classes": 8}
    model = models.build("tiny", heads=heads, words=vocabulary if text else None, seed=1)
    settings = {n: TrialLoss(weight=1, knobs=dict(losses.LOSSES[n].knobs)) for n in names}
    made = Learner(model, settings, seed=1, label_smoothing=0.05).to(device)
    rng = np.random.default_rng(0)
    clips = Clips(
        source=StoredClips(rng.integers(0, 256, (4 * batch, 8, 3, 64, 64), dtype=np.uint8)),
        rows=np.arange(4 * batch),
        time=8,
        labels=rng.integers(0, 8, 4 * batch),
        captions=rng.integers(3, vocabulary.size, (4 * batch, 5, 10)),
        said=np.ones((4 * batch, 5, 10), dtype=bool),
        hidden=vocabulary.mask,
    )
    settings_of_training = TrainSettings(batch=batch)
    needs = data_features(made.names)
    return made, Batches(clips, seed=0, settings=settings_of_training, needs=needs, device=device)


def shared_forward(device: str = "cpu") -> Row:
    """One forward for all losses of a view against one forward and backward per loss."""
    model, batches = learner(ONE_VIEW, device=device)
    batch = batches(0)
    model.train()

    def ours() -> None:
        model.zero_grad(set_to_none=True)
        model(batch).sum().backward()

    def peer() -> None:
        model.zero_grad(set_to_none=True)
        for name in model.names:
            model(batch, only=(name,)).sum().backward()

    error = _gradient_error(model, ours, peer)
    timing = interleave(ours, peer, device=device, repeats=7)
    return Row(
        name="shared forward",
        peer="one forward and backward per loss",
        goal=4.0,
        error=f"gradients differ by {error:.0e} of their norm",
        note=f"{len(model.names)} losses on one view, tiny model, batch {len(batch['labels'])}",
        **timing,
    )


def _gradient_error(model: nn.Module, ours: Callable[[], None], peer: Callable[[], None]) -> float:
    found = []
    for call in (ours, peer):
        call()
        found.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    error = float((found[0] - found[1]).norm() / found[1].norm())
    if error > MAX_GRADIENT_ERROR:
        raise UnequalError(f"shared forward: gradients differ by {error:.2e} of their norm")
    return error


def meta_step(device: str = "cpu", count: int = 5) -> Row:
    """The k-scalar meta gradient against double backward through the model."""
    names = META[: count - 1]
    model, batches = learner(names, device=device)
    from losses.combine.catalogue import COMBINERS

    combiner = COMBINERS["meltr"].load()(
        names=model.names, primary=PRIMARY, weights=dict.fromkeys(model.names, 1.0)
    )
    losses.initialise(combiner, 1, "meltr")
    combiner.to(device)
    train, val = batches(0), batches(1)
    weights = {n: p.detach() for n, p in model.trained_parameters().items()}
    with torch.no_grad():  # away from the start, where the last layer is zero
        for p in combiner.parameters():
            p.add_(
                0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)).to(device)
            )

    def train_losses(w: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, w, (train,))

    def val_primary(w: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, w, (val, (PRIMARY,)))[0]

    def by(method: str) -> Callable[[], dict[str, Tensor | None]]:
        def call() -> dict[str, Tensor | None]:
            with models.meta_pass(model):
                return meta_gradient(
                    combiner, weights, train_losses, val_primary, method=method
                ).grads

        return call

    ours, peer = by("jvp"), by("double_backward")
    flat = [
        torch.cat([g.flatten() for _, g in sorted(call().items()) if g is not None])
        for call in (ours, peer)
    ]
    error = float((flat[0] - flat[1]).norm() / flat[1].norm())
    if error > MAX_META_ERROR:
        raise UnequalError(f"meta step: gradients differ by {error:.2e} of their norm")
    timing = interleave(ours, peer, device=device, repeats=9)
    return Row(
        name=f"meta step, k = {len(model.names)}",
        peer="double backward through the model",
        goal=1.25,
        error=f"meta gradients differ by {error:.0e} of their norm",
        note="MELTR on the tiny model, batch 16",
        **timing,
    )


def meta_step_3(device: str = "cpu") -> Row:
    """Three losses."""
    return meta_step(device, count=3)


def meta_step_8(device: str = "cpu") -> Row:
    """Eight losses."""
    return meta_step(device, count=8)
