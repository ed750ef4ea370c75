"""Streams of random numbers, each from a seed and a name."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def stream(seed: int, *names: object) -> int:
    """A 63-bit seed for a named stream of random numbers."""
    digest = hashlib.blake2b("/".join(map(str, (seed, *names))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator of a named stream."""
    return torch.Generator().manual_seed(stream(seed, *names))


def seed_process(seed: int) -> None:
    """Streams draw their own numbers; this covers dropout and whatever a library draws."""
    torch.default_generator.manual_seed(stream(seed, "process"))
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(stream(seed, "process"))
        torch.backends.cudnn.benchmark = False
    np.random.seed(stream(seed, "numpy") % 2**32)  # noqa: NPY002 - libraries read the global state
