"""What a trial trains, put together without running it."""

import torch

from sweep.data.prepare import prepare
from sweep.runtime.seeds import Seeds
from sweep.tasks.catalogue import task_of
from sweep.training.assembly import assemble


def assembled(config, prepared=None):
    """Model, losses, combiner and batches of a trial, on the CPU."""
    task = task_of(config.evaluate, config.primary)
    return assemble(
        config,
        prepared or prepare(config.data),
        task.clips,
        heads=task.heads,
        seeds=Seeds.of(config.seed),
        device=torch.device("cpu"),
    )
