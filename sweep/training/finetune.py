"""Fine-tuning, to be read from top to bottom: one loop, one optimiser, one combiner.

A trial can die at any moment: it continues from its last checkpoint and ends with the numbers of
an undisturbed run, because every batch is a function of (seed, step). A trial of several ranks
(``ranks.py``) runs this same loop in each.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import models
from losses.combine.gradients import LossGradients, cosines, loss_gradients, recorded
from losses.combine.meta import AUTO, MetaOptimizer, choose_method, meta_gradient
from losses.combine.slopes import slopes
from sweep import heartbeat, ranks
from sweep.training.learner import Learner, mixed_precision

if TYPE_CHECKING:
    from sweep.config import TrainSettings
    from sweep.training.batches import Batches

log = logging.getLogger(__name__)

NO_CHECKPOINT = "checkpoints could not be written"
#: A disk with less room left than this counts as full.
FULL_BYTES = 2**20
#: Past batches that the meta step may draw from (the published settings keep ten).
MEMORY = 10
#: Batches over which the angles between the gradients of the losses are averaged.
ANGLE_BATCHES = 4


class DivergedError(RuntimeError):
    """A loss or a gradient stopped being a finite number, or the loss exploded."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


@dataclass
class Progress:
    """What a checkpoint holds besides tensors.

    Attributes:
        step: Steps done.
        history: Rows for ``history.jsonl``.
        late_cross_entropy: Primary loss, a cross-entropy, of the last 5 % of the steps.
        late_slopes: Slopes dM/dl of the last tenth, at the logged steps.
        meta_steps: Meta steps done.
        warnings: What went wrong without ending the trial.
    """

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    late_cross_entropy: list[float] = field(default_factory=list)
    late_slopes: list[list[float]] = field(default_factory=list)
    meta_steps: int = 0
    warnings: list[str] = field(default_factory=list)


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
    validate: Callable[[], float] | None = None,
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
        validate: Clean validation accuracy in percent, called every ``validate_every`` steps.
        on_metrics: Receives every history row as it is made.

    Raises:
        DivergedError: with the step and the loss that went wrong.
    """
    device = batches.device
    parameters = learner.trained_parameters()
    optimizer = _optimizer(parameters, combiner, meta, settings)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    parts = {"learner": learner, "combiner": combiner, "optimizer": optimizer}
    if meta is not None:
        parts["meta"] = meta
    progress = _load(checkpoint, parts, device)
    last_tenth = settings.steps - max(1, settings.steps // 10)
    last_twentieth = settings.steps - max(1, settings.steps // 20)
    learner.train()
    # what a combiner wants to know besides the losses; most want nothing
    level: str | None = getattr(combiner, "level", None)
    prepare, review = getattr(combiner, "prepare", None), getattr(combiner, "review", None)

    for step in range(progress.step, settings.steps):
        heartbeat.beat(f"step {step}/{settings.steps}")
        batch = batches(step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        with mixed_precision(settings.precision, device):
            values, gradients = _forward(learner, batch, level)
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
        if step >= last_twentieth:
            progress.late_cross_entropy.append(float(values[0].detach()))
        if step % settings.log_every == 0 or step == settings.steps - 1:
            # before the update: the slopes are those that this step descended with
            row = _row(step, unified, values, combiner, learner.names, optimizer, norm)
            if step in _angle_steps(settings):
                row |= _angles(learner, batches, settings, step)
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
            _meta_step(learner, combiner, batches, holdout, meta, step)
            progress.meta_steps += 1

        progress.step = step + 1
        if validate is not None and settings.validate_every:
            at_rung = progress.step % settings.validate_every == 0
            if at_rung and progress.step < settings.steps:
                row = {"step": progress.step, "clean_accuracy": validate()}
                learner.train()
                progress.history.append(row)
                if on_metrics is not None:
                    on_metrics(row)
        if progress.step % settings.checkpoint_every == 0 or progress.step == settings.steps:
            _save(checkpoint, parts, progress, device)
    return progress


# ------------------------------------------------------------------------------------- one step


def _optimizer(
    parameters: Mapping[str, nn.Parameter],
    combiner: nn.Module,
    meta: MetaOptimizer | None,
    settings: TrainSettings,
) -> torch.optim.AdamW:
    """AdamW; a combiner that is learned by plain descent (uncertainty) joins without decay."""
    groups = [{"params": list(parameters.values()), "weight_decay": settings.weight_decay}]
    own = [] if meta is not None else list(combiner.parameters())
    if own:
        groups.append({"params": own, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=settings.lr)


def _forward(
    learner: Learner, batch: Mapping[str, Tensor], level: str | None
) -> tuple[Tensor, LossGradients | None]:
    """Losses, and their gradients at a level if one is asked for."""
    if level is None:
        return learner(batch), None
    if level == "full":
        values = learner.separate(batch)
        named = learner.model.named_parameters()
        points = {name: [p] for name, p in named if p.requires_grad}
        found = loss_gradients(values, points, shared_only=True, average=_average())
    else:
        shared = getattr(learner.model, "shared_modules", None)
        if shared is None:
            raise ValueError(
                f"{type(learner.model).__name__} does not name what its losses share "
                "(shared_modules); give the combiner level: full"
            )
        modules = [name for name in shared if getattr(learner.model, name, None) is not None]
        with recorded(learner.model, modules) as points:
            values = learner.separate(batch)
        found = loss_gradients(values, points, shared_only=True)
        # a rank has the places of its own clips, and there as many times the gradient as ranks
        found = replace(found, gram=ranks.mean(found.gram) / ranks.count())
    return torch.stack(values), found


def _average() -> Callable[[Tensor], Tensor] | None:
    """Mean over the ranks, for what works without one when there is a single rank."""
    return ranks.mean if ranks.count() > 1 else None


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


def _angle_steps(settings: TrainSettings) -> set[int]:
    """The start, the logged step at half-time, and the end."""
    half = settings.steps // 2
    return {0, half - half % settings.log_every, settings.steps - 1}


def _angles(
    learner: Learner, batches: Batches, settings: TrainSettings, step: int
) -> dict[str, Any]:
    """How the gradients of the losses lie to each other, at what the encoders put out.

    An encoder that only one loss reads counts as that loss's own (the text tower, say). Means over
    :data:`ANGLE_BATCHES` batches; the training goes on as if nothing had been looked at.
    Nothing for a single loss, or a model that does not name what its losses share.
    """
    names = learner.names
    if len(names) < 2 or not hasattr(learner.model, "shared_modules"):
        return {}
    device = batches.device
    cosine, norm = torch.zeros(len(names), len(names)), torch.zeros(len(names))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), models.frozen_statistics(learner):
        for offset in range(ANGLE_BATCHES):
            with mixed_precision(settings.precision, device):
                _, found = _forward(learner, batches(step + offset), "representation")
            assert found is not None
            gram = found.gram.float().cpu()
            cosine += cosines(gram) / ANGLE_BATCHES
            norm += gram.diagonal().clamp(min=0).sqrt() / ANGLE_BATCHES
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    return {
        "gradients": {
            "cosines": {f"{names[j]}|{names[i]}": float(cosine[i, j]) for i, j in pairs},
            "norms": dict(zip(names, norm.tolist(), strict=True)),
        }
    }


def _meta_step(
    learner: Learner,
    combiner: nn.Module,
    batches: Batches,
    holdout: Batches | None,
    meta: MetaOptimizer,
    step: int,
) -> None:
    """Move the combiner so that the next step helps the primary loss (arXiv:2303.13009).

    The two batches are drawn independently from the last ten; a past batch is made again from
    its step number, masks and views included. With held-out clips the second comes from those.
    """
    train_step, val_step = _past_steps(batches.seed, step, meta.data)
    train_batch = batches(train_step)
    val_batch = batches(val_step) if holdout is None else holdout(step)
    parameters = {name: p.detach() for name, p in learner.trained_parameters().items()}

    def train_losses(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(learner, weights, (train_batch,))

    def val_primary(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(learner, weights, (val_batch, (learner.names[0],)))[0]

    with models.frozen_batchnorm(learner):
        if meta.method == AUTO:
            meta.method = choose_method(parameters, train_losses, average=_average())
        found = meta_gradient(
            combiner,
            parameters,
            train_losses,
            val_primary,
            method=meta.method,
            gamma=meta.gamma,
            direct_term=meta.direct_term,
            average=_average(),
        )
    meta.step(combiner, found)


def _past_steps(seed: int, step: int, data: str) -> tuple[int, int]:
    """Steps of the training and of the validation batch of a meta step."""
    if data == "current" or step == 0:
        return step, step
    memory = deque(range(max(0, step - MEMORY), step), maxlen=MEMORY)
    rng = torch.Generator().manual_seed((seed << 20) ^ step)
    first, second = torch.randint(len(memory), (2,), generator=rng).tolist()
    return memory[first], memory[second]


# ---------------------------------------------------------------------------------- checkpoints


def _save(folder: Path, parts: Mapping[str, Any], progress: Progress, device: torch.device) -> None:
    """One file of rank 0, written aside and renamed: a checkpoint is whole, if there is room.

    Without room the trial goes on: its result does not need the checkpoint, only a restart does.
    """
    if ranks.index() > 0:
        return
    content = {name: part.state_dict() for name, part in parts.items()}
    content["progress"] = vars(progress)
    content["rng"] = torch.get_rng_state()
    if device.type == "cuda":
        content["cuda_rng"] = [torch.cuda.get_rng_state(device)]
    temporary = folder / ".last.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(content, temporary)
        temporary.replace(folder / "last.pt")
    except (OSError, RuntimeError) as error:  # torch raises the latter for errors of the disk too
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        with contextlib.suppress(OSError):
            if shutil.disk_usage(folder).free < FULL_BYTES:  # torch tells a full disk in riddles
                reason = "No space left on device"
            temporary.unlink(missing_ok=True)
        if not any(text.startswith(NO_CHECKPOINT) for text in progress.warnings):
            warning = f"{NO_CHECKPOINT}, first at step {progress.step}: {reason}"
            log.warning("%s: %s; the trial goes on without", folder, warning)
            progress.warnings.append(warning)


def _load(folder: Path, parts: Mapping[str, Any], device: torch.device) -> Progress:
    """Continue from the last checkpoint, if rank 0 sees a readable one."""
    content = ranks.from_first(_read(folder / "last.pt") if ranks.index() == 0 else None)
    if content is None:
        return Progress()
    for name, part in parts.items():
        part.load_state_dict(content[name])
    torch.set_rng_state(content["rng"])
    if "cuda_rng" in content and device.type == "cuda":
        torch.cuda.set_rng_state(content["cuda_rng"][0], device)
    return Progress(**content["progress"])


def _read(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds, on the CPU; None without a readable one."""
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torn bytes raise nearly anything
        log.warning("%s is not readable (%s): the cell starts again", path, error)
        path.unlink(missing_ok=True)
        return None
