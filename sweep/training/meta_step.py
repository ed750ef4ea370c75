"""A step of the combiner: its weights follow from what they do to a second batch."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import models
from losses.combine.meta import AUTO, MetaOptimizer, choose_method, meta_gradient
from sweep.training.angles import average_ranks

if TYPE_CHECKING:
    from sweep.training.batches import Batches
    from sweep.training.learner import Learner

#: Past batches that the meta step may draw from (the published settings keep ten).
MEMORY = 10


def meta_step(
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

    with models.meta_pass(learner):
        if meta.method == AUTO:
            meta.method = choose_method(parameters, train_losses, average=average_ranks())
        found = meta_gradient(
            combiner,
            parameters,
            train_losses,
            val_primary,
            method=meta.method,
            gamma=meta.gamma,
            direct_term=meta.direct_term,
            average=average_ranks(),
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
