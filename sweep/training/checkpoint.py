"""Where a training stands, stored and read back."""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from sweep.runtime import ranks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

NO_CHECKPOINT = "checkpoints could not be written"
#: A disk with less room left than this counts as full.
FULL_BYTES = 2**20


@dataclass
class Progress:
    """What a checkpoint holds besides tensors.

    Attributes:
        step: Steps done.
        history: Rows for ``history.jsonl``.
        early_primary: Primary loss of the first 2 % of the steps, see ``trained.early_steps``.
        late_cross_entropy: Primary loss of the last 5 % of the steps.
        late_slopes: Slopes dM/dl of the last tenth, at the logged steps.
        meta_steps: Meta steps done.
        warnings: What went wrong without ending the trial.
    """

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    early_primary: list[float] = field(default_factory=list)
    late_cross_entropy: list[float] = field(default_factory=list)
    late_slopes: list[list[float]] = field(default_factory=list)
    meta_steps: int = 0
    warnings: list[str] = field(default_factory=list)


def save(folder: Path, parts: Mapping[str, Any], progress: Progress, device: torch.device) -> None:
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


def load(folder: Path, parts: Mapping[str, Any], device: torch.device) -> Progress:
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
