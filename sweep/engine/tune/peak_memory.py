"""A few steps of a trial, for the memory that they take."""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sweep.engine.demand import Peak
from sweep.trial import run_trial

if TYPE_CHECKING:
    from sweep.settings.trial import TrialConfig

#: The optimiser's state appears with the first step, the meta step needs one before it.
STEPS = 3


def shortened(config: TrialConfig) -> TrialConfig:
    """The trial with :data:`STEPS` steps, tested on clean clips alone."""
    train = config.train.model_copy(
        update={
            "steps": STEPS, "warmup": 0.0, "checkpoint_every": STEPS, "validate_every": 0,
            "max_loss": 1e30,
        }
    )  # fmt: skip
    evaluate = config.evaluate.model_copy(
        update={
            "conditions": {}, "profile": None, "temporal_checks": False, "shifts": [],
            "fidelity": "full", "clips_per_cell": None,
        }
    )  # fmt: skip
    return config.model_copy(update={"train": train, "evaluate": evaluate})


def measure_peak(config: TrialConfig) -> Peak:
    """Run a shortened trial in this process, which should do nothing else before or after.

    Of a card this is what torch's allocator held at most and what the driver holds beside it: the
    context, and other processes on the card.

    Raises:
        RuntimeError: if the trial fails.
    """
    has_gpu = torch.cuda.is_available()
    beside = card = 0
    if has_gpu:
        torch.zeros(1, device="cuda")
        free, card = torch.cuda.mem_get_info()
        beside = card - free - torch.cuda.memory_reserved()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        result = run_trial(shortened(config), scratch=Path(folder))
    if error := result.record.error:
        raise RuntimeError(f"{error['type']}: {error['message']}")
    unit = 1 if sys.platform == "darwin" else 1024
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    gpu = torch.cuda.max_memory_reserved() + beside if has_gpu else 0
    return Peak(rss=rss, gpu=gpu, card=card)
