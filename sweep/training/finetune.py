"""Fine-tuning, to be read from top to bottom: one loop, one optimiser, one combiner.

A trial can die at any moment: it continues from its last checkpoint and ends with the numbers of
an undisturbed run, because every batch is a function of (seed, step). A trial of several ranks
(``ranks.py``) runs this same loop in each.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import models
from losses.combine.slopes import slopes
from sweep.runtime import heartbeat, ranks
from sweep.runtime.device import mixed_precision
from sweep.training.angles import angle_steps, forward_losses, measure_angles
from sweep.training.checkpoint import Progress, load, save
from sweep.training.meta_step import meta_step
from sweep.training.parameters import build_optimizer
from sweep.training.trained import early_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from losses.combine.meta import MetaOptimizer
    from sweep.settings.train import TrainSettings
    from sweep.training.batches import Batches
    from sweep.training.learner import Learner

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """A loss or a gradient stopped being a finite number, or the loss exploded."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then cosine to 0; ``step`` counts from 0."""
    warm = round(settings.warmup * settings.steps)
    if step < warm:
        return settings.lr * (step + 1) / warm
    share = (step - warm) / max(1, settings.steps - warm)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * share))


def finetune(
    learner: Learner,
    combiner: nn.Module,
    batches: Batches,
    settings: TrainSettings,
    *,
    checkpoint: Path,
    meta: MetaOptimizer | None = None,
    holdout: Batches | None = None,
    validate: Callable[[], Mapping[str, Any]] | None = None,
    on_metrics: Callable[[dict[str, Any]], None] | None = None,
) -> Progress:
    """Train in place.

    Args:
        learner: Model and losses, on their device.
        combiner: Losses ``(K,)`` -> scalar. ``prepare``, ``review`` and ``level``, where it has
            them, are described in losses/README.md.
        batches: Batch by step number.
        settings: Budget and recipe.
        checkpoint: Folder; the last checkpoint in it is continued from.
        meta: Moves the parameters of a learned combiner (MELTR) every few steps.
        holdout: Labelled clips kept out of ``batches``, where ``meta`` judges by such.
        validate: What a row of history says of the validation clips: `validation`, metric ->
            value, the headline first, and whatever else. Called every ``validate_every`` steps.
        on_metrics: Receives every history row as it is made.

    Raises:
        DivergedError: with the step and the loss that went wrong.
    """
    device = batches.device
    parameters = learner.trained_parameters()
    optimizer = build_optimizer(parameters, combiner, meta, settings)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    parts = {"learner": learner, "combiner": combiner, "optimizer": optimizer}
    if meta is not None:
        parts["meta"] = meta
    progress = load(checkpoint, parts, device)
    last_tenth = settings.steps - max(1, settings.steps // 10)
    last_twentieth = settings.steps - max(1, settings.steps // 20)
    learner.train()
    # what a combiner wants to know besides the losses; most want nothing
    level: str | None = getattr(combiner, "level", None)
    prepare, review = getattr(combiner, "prepare", None), getattr(combiner, "review", None)

    for step in range(progress.step, settings.steps):
        heartbeat.beat(f"step {step}/{settings.steps}")
        batch = batches(step)
        progress.warnings += batches.warnings
        batches.warnings.clear()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        with mixed_precision(settings.precision, device):
            values, gradients = forward_losses(learner, batch, level)
        if prepare is not None:
            prepare(values.detach(), None if gradients is None else gradients.gram)
        unified = combiner(values)
        optimizer.zero_grad(set_to_none=True)
        if meta is not None:
            combiner.zero_grad(set_to_none=True)
        if gradients is None:
            unified.backward()
        else:  # the encoders follow the slopes, heads their own loss, the combiner its own terms
            own = combiner(values.detach())
            root = values.sum() + own if own.requires_grad else values.sum()
            gradients.backward(root, slopes(combiner, values))
        ranks.average_gradients(trained)
        norm = nn.utils.clip_grad_norm_(trained, settings.clip_norm)
        _check_finite(step, unified, norm, values, learner.names, settings.max_loss)
        if step < early_steps(settings.steps):
            progress.early_primary.append(float(values[0].detach()))
        if step >= last_twentieth:
            progress.late_cross_entropy.append(float(values[0].detach()))
        if step % settings.log_every == 0 or step == settings.steps - 1:
            # before the update: the slopes are those that this step descended with
            row = _row(step, unified, values, combiner, learner.names, optimizer, norm)
            if step in angle_steps(settings):
                row |= measure_angles(learner, batches, settings, step)
            if step >= last_tenth:
                progress.late_slopes.append(list(row["slopes"].values()))
            progress.history.append(row)
            if on_metrics is not None:
                on_metrics(row)
        optimizer.step()
        if review is not None:
            review(values.detach(), _second_look(learner, batch, settings, device))
        learner.update_teacher(settings.ema)

        if meta is not None and meta.is_due(step):
            meta_step(learner, combiner, batches, holdout, meta, step)
            progress.meta_steps += 1

        progress.step = step + 1
        if validate is not None and settings.validate_every:
            at_rung = progress.step % settings.validate_every == 0
            if at_rung and progress.step < settings.steps:
                row = {"step": progress.step, **validate()}
                learner.train()
                progress.history.append(row)
                if on_metrics is not None:
                    on_metrics(row)
        if progress.step % settings.checkpoint_every == 0 or progress.step == settings.steps:
            save(checkpoint, parts, progress, device)
    return progress


@torch.no_grad()
def _second_look(
    learner: Learner, batch: Mapping[str, Tensor], settings: TrainSettings, device: torch.device
) -> Tensor:
    """The losses of the same batch after the step, normalised as before it; nothing is recorded."""
    with models.frozen_statistics(learner), mixed_precision(settings.precision, device):
        return learner(batch)


def _check_finite(
    step: int,
    unified: Tensor,
    norm: Tensor,
    values: Tensor,
    names: tuple[str, ...],
    max_loss: float,
) -> None:
    """One synchronisation with the device per step."""
    total, gradient = torch.stack((unified.detach().float(), norm.float())).tolist()
    if math.isfinite(total) and math.isfinite(gradient) and abs(total) <= max_loss:
        return
    listed = ", ".join(f"{n} {v:.4g}" for n, v in zip(names, values.tolist(), strict=True))
    if not math.isfinite(total):
        bad = [n for n, v in zip(names, values.tolist(), strict=True) if not math.isfinite(v)]
        which = f"loss {', '.join(bad)}" if bad else "the unified loss"
        raise DivergedError(step, f"{which} is not finite at step {step} ({listed})")
    if not math.isfinite(gradient):
        raise DivergedError(step, f"the gradient is not finite at step {step} ({listed})")
    raise DivergedError(
        step,
        f"the unified loss {total:.4g} exceeds train.max_loss {max_loss:g} at step {step} "
        f"({listed})",
    )


def _row(
    step: int,
    unified: Tensor,
    values: Tensor,
    combiner: nn.Module,
    names: tuple[str, ...],
    optimizer: torch.optim.Optimizer,
    norm: Tensor,
) -> dict[str, Any]:
    raw = values.detach()
    return {
        "step": step,
        "unified": float(unified.detach()),
        "losses": dict(zip(names, raw.tolist(), strict=True)),
        "slopes": dict(zip(names, slopes(combiner, raw).tolist(), strict=True)),
        "lr": optimizer.param_groups[0]["lr"],
        "gradient_norm": float(norm),
    }
