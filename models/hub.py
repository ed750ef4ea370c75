"""Networks and folders of `transformers` (an extra), for the backbones that need it.

A folder holds config.json, model.safetensors (or pytorch_model.bin), perhaps the file of its
processor. Nothing here asks a network.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

#: Names that old files hold beside weights.
BUFFERS = (r"\.position_ids$",)


def library() -> Any:
    """The package, imported when the first network needs it.

    Raises:
        ModuleNotFoundError: It is not installed; says how to install it.
    """
    try:
        import transformers
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "this model needs the package transformers, which is not installed; "
            "pip install 'auxsweep[backbones]'"
        ) from None
    return transformers


def settings(kind: str, given: Mapping[str, Any], **sizes: Any) -> Any:
    """A configuration of the class ``kind``: its defaults, then ``sizes``, then what is given."""
    known = {k: v for k, v in given.items() if k not in _FOREIGN}
    return getattr(library(), kind)(**{**sizes, **known})


def network_class(name: str) -> Any:
    """A class of a network by its name; None = the library has none."""
    found = getattr(library(), name, None)
    base = library().PreTrainedModel
    return found if isinstance(found, type) and issubclass(found, base) else None


def state_of(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder as float32, under the names of the class that it was saved from.

    Those of a class without a head get the prefix that they have in one with a head. Names of
    older versions come under their new ones.

    Raises:
        ValueError: No such class, or weights that are missing, unexpected or of another shape:
            the library alone would draw or leave them out without a word.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = (config.get("architectures") or ["AutoModel"])[0]
    kind = network_class(named) if named != "AutoModel" else library().AutoModel
    if kind is None:
        version = library().__version__
        raise ValueError(f"{folder}: transformers {version} has no network {named!r}")
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{folder}: {error}") from None
    wrong = [
        f"{len(names)} {kind}: {', '.join(sorted(map(str, names))[:5])}"
        for kind, names in (
            ("unexpected", info["unexpected_keys"]),
            ("missing", info["missing_keys"]),
            ("of another shape", info["mismatched_keys"]),
        )
        if names
    ]
    if wrong:
        raise ValueError(f"{folder} does not fit its class {named}: {'; '.join(wrong)}")
    found: dict[str, Tensor] = model.state_dict()
    prefix = f"{type(model).base_model_prefix}."
    if not any(name.startswith(prefix) for name in found) and prefix != ".":
        found = {prefix + name: value for name, value in found.items()}
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bar, which is as it was afterwards."""
    logging = library().utils.logging
    was = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was:
            logging.enable_progress_bar()


#: What a configuration holds beside the sizes of its network.
_FOREIGN = frozenset(
    {"architectures", "transformers_version", "torch_dtype", "dtype", "model_type", "_name_or_path",
     "id2label", "label2id", "num_labels", "problem_type"}
)  # fmt: skip
