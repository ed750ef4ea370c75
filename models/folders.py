"""Folders of networks in the form of transformers and timm: what their files say (no torch)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from models.clip_format import ClipFormat, Colours
    from models.weights_spec import WeightsSpec

CONFIG = "config.json"
PROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")


def configuration(path: Path) -> dict[str, Any]:
    """What config.json of a folder holds.

    Raises:
        FileNotFoundError: The folder has none.
        ValueError: It is no JSON object.
    """
    file = path / CONFIG
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no {CONFIG}")
    return _object(file)


def described(row: WeightsSpec, path: Path) -> WeightsSpec:
    """A row with the sizes and clips that the files of a folder tell of.

    Raises:
        ValueError: A file that is no JSON object.
    """
    config = configuration(path)
    if "architecture" in config:  # timm's form
        picture = config.get("pretrained_cfg") or {}
        sizes: dict[str, Any] = {"architecture": config["architecture"]}
        return replace(row, sizes={**row.sizes, **sizes}, clip=_of_timm(row.clip, picture))
    sizes = {"config": config}
    named = (config.get("architectures") or [""])[0]
    if config.get("model_type") == "vjepa2" and named.endswith("ForVideoClassification"):
        sizes |= {"probe": True}
    return replace(row, sizes={**row.sizes, **sizes}, clip=clip_of(config, path, row.clip))


def clip_of(config: Mapping[str, Any], path: Path, otherwise: ClipFormat) -> ClipFormat:
    """Clips of a folder: frames and sizes of its network, the rest of its processor.

    Args:
        config: What config.json holds.
        path: The folder.
        otherwise: What neither file tells.

    Raises:
        ValueError: A processor's file that is no JSON object.
    """
    vision = {**config, **(config.get("vision_config") or {})}
    frames = _first(vision, "num_frames", "frames_per_clip") or otherwise.frames
    size_px = _side(_first(vision, "image_size", "crop_size"))
    told: dict[str, Any] = {"frames": int(frames)}
    processor = _processor(path)
    crop = _side(processor.get("crop_size"))
    short = _side(processor.get("size"))
    told["size_px"] = size_px or crop or short or otherwise.size_px
    for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
        if processor.get(theirs):
            told[ours] = cast("Colours", tuple(float(x) for x in processor[theirs]))
    if crop and short and processor.get("do_center_crop", True):
        told["crop_share"] = min(1.0, crop / short)
    if "frame_sampling_rate" in config:
        told |= {"sampler": "dense", "stride": int(config["frame_sampling_rate"])}
    return replace(otherwise, **told)


def _of_timm(otherwise: ClipFormat, picture: Mapping[str, Any]) -> ClipFormat:
    told: dict[str, Any] = {}
    if picture.get("input_size"):
        told["size_px"] = int(picture["input_size"][-1])
    for key in ("mean", "std"):
        if picture.get(key):
            told[key] = tuple(float(x) for x in picture[key])
    if picture.get("crop_pct"):
        told["crop_share"] = float(picture["crop_pct"])
    if picture.get("interpolation"):
        told["resize"] = str(picture["interpolation"])
    return replace(otherwise, **told)


def _processor(path: Path) -> dict[str, Any]:
    for name in PROCESSORS:
        file = path / name
        if file.is_file():
            found = _object(file)
            for part in ("video_processor", "image_processor"):
                if isinstance(found.get(part), dict):
                    found = {**found, **found[part]}
            return found
    return {}


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: no JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file}: holds no object but {type(found).__name__}")  # noqa: TRY004
    return found


def _first(config: Mapping[str, Any], *names: str) -> Any:
    return next((config[name] for name in names if config.get(name)), None)


def _side(size: Any) -> int | None:
    """A side in pixels of what configurations write: a number, a pair, or a mapping."""
    if isinstance(size, dict):
        size = _first(size, "shortest_edge", "height", "width")
    if isinstance(size, (list, tuple)):
        size = size[-1]
    return None if size is None else int(size)
