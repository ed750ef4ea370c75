"""Streams of random numbers, each from a seed and a name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch


def stream(seed: int, *names: object) -> int:
    """A 63-bit seed for a named stream of random numbers."""
    digest = hashlib.blake2b("/".join(map(str, (seed, *names))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator of a named stream."""
    return torch.Generator().manual_seed(stream(seed, *names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Seeds of all that is random in a trial, each of a stream of its own.

    They follow from the seed of the trial alone, so that trials of one seed draw the same numbers
    whatever their losses, and are compared in pairs.

    Attributes:
        order: Of the clips of a batch and of their views.
        model: Of the weights of the model, part by part.
        losses: Of the parameters that losses have.
        combiner: Of the parameters of the combiner.
        kept_out: Of which clips a meta step judges by.
        judged: Of the order of those.
        process: Of torch's own generator: dropout, and whatever a library draws.
        numpy: Of numpy's own generator, which libraries read.
    """

    order: int
    model: int
    losses: int
    combiner: int
    kept_out: int
    judged: int
    process: int
    numpy: int

    @classmethod
    def of(cls, seed: int) -> Seeds:
        """All seeds of a trial."""
        return cls(
            order=seed,
            model=stream(seed, "model"),
            losses=stream(seed, "losses"),
            combiner=stream(seed, "combiner"),
            kept_out=stream(seed, "holdout", "clips"),
            judged=stream(seed, "holdout"),
            process=stream(seed, "process"),
            numpy=stream(seed, "numpy") % 2**32,
        )

    def seed_process(self) -> None:
        """For what does not draw from a stream of ours."""
        torch.default_generator.manual_seed(self.process)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(self.process)
            torch.backends.cudnn.benchmark = False
        np.random.seed(self.numpy)  # noqa: NPY002 - libraries read the global state
