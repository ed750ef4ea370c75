"""Weights by name: out of files of others, and held against those of a model."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

#: Under which name files keep the weights, tried in this order.
SECTIONS = ("model_state", "state_dict", "model", "module")


def read(path: Path) -> dict[str, Tensor]:
    """The weights of a file by name, on the CPU.

    Nothing but tensors and plain data is unpickled.

    Raises:
        ValueError: The file holds no weights, or something that only a trusted process may read.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds more than weights ({str(error).splitlines()[0]}); save its state_dict "
            "alone, in a process that may trust the file"
        ) from None
    for section in SECTIONS:
        if isinstance(content, dict) and isinstance(content.get(section), dict):
            content = content[section]
            break
    if not isinstance(content, dict) or not all(
        isinstance(v, torch.Tensor) for v in content.values()
    ):
        raise ValueError(
            f"{path}: no weights by name were found (looked for {', '.join(SECTIONS)}, or tensors)"
        )
    wrapped = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if wrapped else name: v for name, v in content.items()}


def differences(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, optional: tuple[str, ...]
) -> list[str]:
    """What does not fit between a model and a checkpoint, one sentence each; empty = all fits.

    Args:
        own: Weights of the model.
        given: Those of the checkpoint.
        optional: Beginnings of names that may differ: heads are drawn where a file has others.
    """
    unexpected = [n for n in given if n not in own and not n.startswith(optional)]
    # a counter that files of old versions of torch lack
    missing = [
        n for n in own
        if n not in given and not n.startswith(optional) and not n.endswith("num_batches_tracked")
    ]  # fmt: skip
    shapes = [
        f"{n} {tuple(given[n].shape)} instead of {tuple(own[n].shape)}"
        for n in own
        if n in given and own[n].shape != given[n].shape and not n.startswith(optional)
    ]
    kinds = {"unexpected": unexpected, "missing": missing, "of another shape": shapes}
    return [f"{len(names)} {kind}: {_first(names)}" for kind, names in kinds.items() if names]


def _first(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
