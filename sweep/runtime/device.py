"""The device of a trial, its memory and its threads."""

from __future__ import annotations

import platform
import resource
import sys
from contextlib import nullcontext
from typing import Any

import torch


def limit_threads(cpus: float) -> None:
    """Give torch as many threads as a trial has CPUs: sums then round alike in every engine."""
    import torch

    threads = max(1, int(cpus))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the device or of the process did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)  # of torch's CPU allocator and of CUDA libraries, which raise RuntimeError
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text or "CUBLAS_STATUS_ALLOC" in text
    )


def peak_memory_gb(device: torch.device) -> dict[str, float]:
    """Most memory that this process has held: resident (`host`), and tensors on the GPU (`gpu`)."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.max_memory_allocated(device) / 1e9
    return {name: round(value, 3) for name, value in found.items()}


def device_name(device: torch.device) -> str:
    """Its model, for people."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or "cpu"
    )


def card(device: torch.device) -> dict[str, str]:
    """Which card it was, so that a faulty one can be found; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # ROCm may lack it
    return {} if uuid is None else {"device_uuid": f"GPU-{uuid}"}


def mixed_precision(precision: str, device: torch.device) -> Any:
    """Autocast to bf16 where it helps: `auto` means on CUDA only."""
    if precision == "bf16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
