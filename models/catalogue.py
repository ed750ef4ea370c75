"""What is known about every model before any tensor exists (imports no torch)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from models import folders
from models.clip_format import ClipFormat
from models.names import nearest
from models.published import ROWS as PUBLISHED
from models.rows import HEADS, TEXT_FEATURES, HeadSpec, ModelSpec, Sizes, load_target
from models.weights import RANDOM, WeightsSpec, here, is_named, places, published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "HEADS",
    "MODELS",
    "TEXT_FEATURES",
    "HeadSpec",
    "ModelSpec",
    "Sizes",
    "clip_of",
    "default_weights",
    "index_by_name",
    "load_target",
    "markdown",
    "model",
    "refusals",
]

#: Beginnings of names of models that are in no table: any network of a library, by folder or name.
HUGGING_FACE, TIMM = "hf:", "timm:"

# sizes of the tiny models: patches of 4 px, two halvings, then a grid of 2 x 2
_TINY = ClipFormat(frames=8, size_px=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
_ROWS = (
    ModelSpec(
        name="tiny",
        provides=frozenset({"frames", "video"}) | TEXT_FEATURES,
        clip=_TINY,
        sizes_px=Sizes(least=32, multiple=32),
        parameters="296,904 (video, 8 classes, 8 frames); with text 24,768 + 64 per word more",
        knobs={"frames": 8},
        text="models.tiny:TextTower",
        source="this project, quickstart study",
        target="models.tiny:VideoTrunk",
        description="small space-time convolution network, trains in seconds on one CPU core",
    ),
    ModelSpec(
        name="tiny_frames",
        provides=frozenset({"frames", "video"}) | TEXT_FEATURES,
        clip=_TINY,
        sizes_px=Sizes(least=32, multiple=32),
        parameters="91,336 (video, 8 classes); with text 24,768 + 64 per word more",
        knobs={"frames": 8},
        text="models.tiny:TextTower",
        source="this project",
        target="models.tiny_frames:FrameTrunk",
        description="tiny without time: frames are encoded alone and averaged; blind to order",
    ),
    *PUBLISHED,
)


def index_by_name(rows: Iterable[ModelSpec]) -> Mapping[str, ModelSpec]:
    """Rows by name, read-only.

    Raises:
        ValueError: Two rows share a name; both targets are named.
    """
    table: dict[str, ModelSpec] = {}
    for row in rows:
        if row.name in table:
            raise ValueError(f"model {row.name!r} twice: {table[row.name].target}, {row.target}")
        table[row.name] = row
    return MappingProxyType(table)


MODELS: Mapping[str, ModelSpec] = index_by_name(_ROWS)
#: Kind of network in config.json -> the row that reads its folders.
_BY_KIND = {
    "timesformer": "timesformer",
    "videomae": "videomae",
    "vivit": "vivit",
    "vjepa2": "vjepa2",
    "clip": "clip",
    "clip_vision_model": "clip",
    "xclip": "xclip",
}
_PICTURES = ClipFormat(frames=8, size_px=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def model(name: str) -> ModelSpec:
    """The row called ``name``, or that of a folder or network of a library.

    `hf:<folder or hub name>` is a network of transformers, `timm:<architecture, folder or hub
    name>` one of timm. The files of a folder tell its sizes and clips.

    Raises:
        ValueError: No such model; the nearest name and all names are given.
        FileNotFoundError: No such folder; says where it was looked for.
    """
    if name in MODELS:
        return MODELS[name]
    if name.startswith(HUGGING_FACE):
        return _of_folder(name, name.removeprefix(HUGGING_FACE))
    if name.startswith(TIMM):
        return _of_timm(name, name.removeprefix(TIMM))
    raise ValueError(
        f"unknown model {name!r}{nearest(name, MODELS)} (models: {', '.join(MODELS)}, "
        f"{HUGGING_FACE}<folder or name>, {TIMM}<architecture>)"
    )


def _of_folder(name: str, given: str) -> ModelSpec:
    path = Path(given).expanduser()
    file = str(path.absolute()) if path.is_dir() else given
    spec = WeightsSpec(
        name="folder",
        file=file,
        source=f"the hub of transformers: {given}",
        clip=_PICTURES,
        licence="see there",
    )
    found = here(spec)
    if not given or found is None:
        looked = ", ".join(str(place) for place in places(spec))
        raise FileNotFoundError(
            f"model {name!r}: looked for {looked}; put its folder with {folders.CONFIG} there, or "
            f"give its path: {HUGGING_FACE}/path/to/folder"
        )
    config = folders.configuration(found)
    kind = config.get("model_type")
    if kind is None:
        raise ValueError(f"model {name!r}: {found / folders.CONFIG} has no model_type")
    row = MODELS[_BY_KIND[kind]] if kind in _BY_KIND else _any_of_transformers()
    like = next(s for s in row.weights if s.is_folder)
    spec = folders.described(
        replace(like, name="folder", file=spec.file, source=spec.source, sha256="", clip=row.clip),
        found,
    )
    row = replace(row, **_multiples(config))
    return replace(
        row,
        name=name,
        clip=spec.clip,
        knobs={**row.knobs, "frames": spec.clip.frames},
        sizes={**row.sizes, **spec.sizes},
        weights=(spec,),
        source=spec.source,
        parameters="see its folder",
        description=f"{kind} of {given}",
    )


def _multiples(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes that are whole numbers of the patches of a configuration."""
    told = {**config, **(config.get("vision_config") or {})}
    patch, tubelet = told.get("patch_size"), told.get("tubelet_size")
    if isinstance(tubelet, list):  # steps, rows, columns
        tubelet, patch = tubelet[0], tubelet[1]
    found: dict[str, Any] = {}
    if isinstance(patch, int):
        found["sizes_px"] = Sizes(least=patch, multiple=patch)
    if isinstance(tubelet, int):
        found["frames"] = Sizes(least=tubelet, multiple=tubelet)
    return found


def _any_of_transformers() -> ModelSpec:
    rename = "models.backbones.hugging_face:rename"
    return ModelSpec(
        name="",
        provides=frozenset({"frames", "video"}),
        clip=_PICTURES,
        parameters="",
        sizes={"config": {}},
        knobs={"frames": _PICTURES.frames},
        weights=(
            WeightsSpec(
                name="folder",
                file="folder",
                source="",
                clip=_PICTURES,
                licence="",
                rename=rename,
                ignored=(
                    r"\.position_ids$",
                    r"text_model\.",
                    r"(visual|text)_projection",
                    r"logit_",
                ),
            ),
        ),
        package="transformers",
        extra="backbones",
        source="",
        target="models.backbones.hugging_face:network",
        description="",
    )


def _of_timm(name: str, given: str) -> ModelSpec:
    path = Path(given).expanduser()
    file = str(path.absolute()) if path.is_dir() else given if "/" in given else f"timm/{given}"
    spec = WeightsSpec(
        name="folder",
        file=file,
        source=f"the hub of timm: {given}",
        clip=_PICTURES,
        licence="see there",
        rename="models.backbones.timm:rename",
        sizes={"architecture": given},
    )
    found = here(spec)
    if found is not None:
        spec = folders.described(spec, found)
    elif "/" in given:
        looked = ", ".join(str(place) for place in places(spec))
        raise FileNotFoundError(
            f"model {name!r}: looked for {looked}; put its folder with {folders.CONFIG} there"
        )
    else:
        try:
            clip = load_target("models.backbones.timm:clip_of")(given)
        except ModuleNotFoundError as error:
            raise ValueError(f"model {name!r}: {error}") from None
        spec = replace(spec, clip=clip)
    return ModelSpec(
        name=name,
        provides=frozenset({"frames", "video"}),
        clip=spec.clip,
        tables=frozenset({"size_px"}),
        parameters="see timm",
        sizes=spec.sizes,
        knobs={"frames": spec.clip.frames},
        weights=(spec,),
        package="timm",
        extra="timm",
        source=spec.source,
        target="models.backbones.timm:Frames",
        description=f"{spec.sizes['architecture']} of timm, frame by frame",
    )


def default_weights(name: str) -> str:
    """What a study without `model.weights` loads: the first checkpoint, or random weights.

    Raises:
        ValueError, FileNotFoundError: As :func:`model`.
    """
    rows = model(name).weights
    return rows[0].name if rows else RANDOM


def clip_of(
    name: str, *, weights: str = RANDOM, frames: int | None = None, size_px: int | None = None
) -> ClipFormat:
    """Clips that a model takes: its checkpoint's, unless a number says otherwise.

    Args:
        name: A row of the catalogue.
        weights: `random`, a checkpoint of the row, or a file.
        frames: Frames per clip; None = the checkpoint's.
        size_px: Height and width; None = the checkpoint's.
    """
    row = model(name)
    spec = published(row.weights, weights)
    clip = row.clip if spec is None else spec.clip
    return replace(
        clip,
        frames=clip.frames if frames is None else frames,
        size_px=clip.size_px if size_px is None else size_px,
    )


def refusals(
    name: str,
    clip: ClipFormat,
    *,
    weights: str = RANDOM,
    knobs: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, str]:
    """Why a model cannot take such clips: `frames` or `size_px` -> message; empty = it can.

    Args:
        name: A row of the catalogue.
        clip: The clips.
        weights: As in :func:`clip_of`: position tables of a checkpoint fix sizes.
        knobs: Of the model: some let it take more.
    """
    row = model(name)
    allowed = {"frames": row.frames, "size_px": row.sizes_px}
    for knob, limits in row.relaxed.items():
        if knobs.get(knob, row.knobs[knob]):
            allowed |= limits
    found: dict[str, str] = {}
    spec = published(row.weights, weights)
    # a file of any other name may be one of ours, of any size: its shapes tell
    is_known = spec is not None and (spec.is_folder or is_named(spec, weights))
    for key, what in (("frames", "frames per clip"), ("size_px", "pixels high and wide")):
        given, sizes = getattr(clip, key), allowed[key]
        own = getattr(row.clip if spec is None else spec.clip, key)
        if not sizes.takes(given):
            near = f"nearest: {sizes.nearest(given)}"
            near += f"; published with {own}" if row.weights else ""
            more = "".join(f"; with {knob}: {limits[key]}" for knob, limits in row.relaxed.items())
            found[key] = f"{given} given; model {name!r} takes {sizes} {what} ({near}{more})"
        elif spec is not None and is_known and key in row.tables and given != own:
            found[key] = (
                f"{given} given; model {name!r} with weights {spec.name!r} takes {own} {what} "
                f"alone: its position tables are made for {own} (nearest: {own})"
            )
    return found


def markdown() -> str:
    """The catalogue as a Markdown table, for the README of this package."""
    lines = [
        "| model | clip | provides | parameters | checkpoints | what it is |",
        "|---|---|---|---|---|---|",
    ]
    for row in MODELS.values():
        provides = ", ".join(f"`{name}`" for name in sorted(row.features))
        clip = f"{row.clip.frames} x {row.clip.size_px} px"
        checkpoints = ", ".join(f"`{spec.name}`" for spec in row.weights) or "none"
        lines.append(
            f"| `{row.name}` | {clip} | {provides} | {row.parameters} | {checkpoints} "
            f"| {row.description} |"
        )
    return "\n".join(lines)
