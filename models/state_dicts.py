"""Weights by name: out of files of others, and held against those of a model."""

from __future__ import annotations

import json
import logging
import pickle
import re
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

_log = logging.getLogger(__name__)
#: Under which name files keep the weights, tried in this order. Of an encoder that is trained and
#: the slow average of it, the latter is what the published evaluations read.
SECTIONS = ("model_state", "state_dict", "model", "module", "target_encoder", "encoder")
#: What wrappers put before every name.
WRAPPERS = ("module.", "backbone.")


def read(path: Path) -> dict[str, Tensor]:
    """The weights of a file by name, on the CPU; of a folder in the form of transformers or timm.

    Nothing but tensors and plain data is unpickled.

    Raises:
        ValueError: The file holds no weights, or something that only a trusted process may read;
            a folder whose weights do not fit its own class.
    """
    if path.is_dir():
        return _of_folder(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds more than weights ({_told(error)}); save its state_dict alone, in a "
            "process that may trust the file"
        ) from None
    except RuntimeError as error:
        raise ValueError(
            f"{path}: cannot be read as weights ({_told(error)}); if it is a TorchScript archive, "
            "save its state_dict(), in a process that may trust the file"
        ) from None
    for section in SECTIONS:
        if isinstance(content, dict) and isinstance(content.get(section), dict):
            _log.info("%s: weights under %r", path, section)
            content = content[section]
            break
    if not isinstance(content, dict) or not all(
        isinstance(v, torch.Tensor) for v in content.values()
    ):
        raise ValueError(
            f"{path}: no weights by name were found (looked for {', '.join(SECTIONS)}, or tensors)"
        )
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in content):
            content = {name.removeprefix(wrapper): v for name, v in content.items()}
    return dict(content)


def _of_folder(path: Path) -> dict[str, Tensor]:
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    if "architecture" not in config:
        from models.hub import state_of

        return state_of(path)
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (path / name).is_file():
            return read(path / name)
    raise ValueError(f"{path}: neither model.safetensors nor pytorch_model.bin")


def _told(error: Exception) -> str:
    """The first line of an error, and the class that it does not want to unpickle."""
    text = str(error)
    foreign = re.search(r"GLOBAL ([\w.]+)", text)
    first = text.splitlines()[0] if text else type(error).__name__
    return f"{first} Class: {foreign[1]}" if foreign and foreign[1] not in first else first


def differences(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    *,
    optional: tuple[str, ...],
    fresh: tuple[str, ...] = (),
) -> list[str]:
    """What does not fit between a model and a checkpoint, one sentence each; empty = all fits.

    Args:
        own: Weights of the model.
        given: Those of the checkpoint.
        optional: Beginnings of names that may differ: heads are drawn where a file has others.
        fresh: Regular expressions of names that the checkpoint may lack.
    """
    unexpected = [n for n in given if n not in own and not n.startswith(optional)]
    # a counter that files of old versions of torch lack
    missing = [
        n for n in own
        if n not in given and not n.startswith(optional) and not n.endswith("num_batches_tracked")
        and not any(re.search(pattern, n) for pattern in fresh)
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
