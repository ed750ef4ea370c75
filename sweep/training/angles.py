"""The angles between the gradients of the losses, measured now and then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import models
from losses.combine.gradients import LossGradients, Points, cosines, loss_gradients, recorded
from sweep.runtime import ranks
from sweep.runtime.device import mixed_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sweep.settings.train import TrainSettings
    from sweep.training.batches import Batches
    from sweep.training.learner import Learner


#: Batches over which the angles between the gradients of the losses are averaged.
ANGLE_BATCHES = 4


def forward_losses(
    learner: Learner, batch: Mapping[str, Tensor], level: str | None
) -> tuple[Tensor, LossGradients | None]:
    """Losses, and their gradients at a level if one is asked for."""
    if level is None:
        return learner(batch), None
    if level == "full":
        values = learner.separate(batch)
        named = learner.model.named_parameters()
        points: Points = {name: [p] for name, p in named if p.requires_grad}
        found = loss_gradients(values, points, shared_only=True, average=average_ranks())
    else:
        if not learner.model.shared:
            raise ValueError(
                f"{type(learner.model).__name__} does not name what its losses share "
                "(shared); give the combiner level: full"
            )
        with recorded(learner.model, learner.model.shared) as points:
            values = learner.separate(batch)
        found = loss_gradients(values, points, shared_only=True)
        # a rank has the places of its own clips, and there as many times the gradient as ranks
        found = replace(found, gram=ranks.mean(found.gram) / ranks.count())
    return torch.stack(values), found


def average_ranks() -> Callable[[Tensor], Tensor] | None:
    """Mean over the ranks, for what works without one when there is a single rank."""
    return ranks.mean if ranks.count() > 1 else None


def angle_steps(settings: TrainSettings) -> set[int]:
    """The start, the logged step at half-time, and the end."""
    half = settings.steps // 2
    return {0, half - half % settings.log_every, settings.steps - 1}


def measure_angles(
    learner: Learner, batches: Batches, settings: TrainSettings, step: int
) -> dict[str, Any]:
    """How the gradients of the losses lie to each other, at what the encoders put out.

    An encoder that only one loss reads counts as that loss's own (the text tower, say). Means over
    :data:`ANGLE_BATCHES` batches; the training goes on as if nothing had been looked at.
    Nothing for a single loss, or a model that does not name what its losses share.
    """
    names = learner.names
    if len(names) < 2 or not learner.model.shared:
        return {}
    device = batches.device
    cosine, norm = torch.zeros(len(names), len(names)), torch.zeros(len(names))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), models.frozen_statistics(learner):
        for offset in range(ANGLE_BATCHES):
            with mixed_precision(settings.precision, device):
                _, found = forward_losses(learner, batches(step + offset), "representation")
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
