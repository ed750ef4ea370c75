"""Rows of published networks made so small that tests can build, save and load them.

Layers, their order and names of weights are those of the rows; widths, depths, clips and the
windows of heads are not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from models.catalogue import MODELS, Sizes

if TYPE_CHECKING:
    from models.clip_format import ClipFormat

FRAMES, SIDE = 4, 32
_ANY = {"frames": Sizes(), "sizes_px": Sizes(least=SIDE)}
_VIT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
_TOWER = {**_VIT, "patch_size": 16, "projection_dim": 12}
_BLOCKS = "models.backbones.pytorchvideo"

#: Trunk -> sizes of its class, and what then changes in its row.
SMALL = {
    f"{_BLOCKS}:ResNet": ({"depth": 50, "width": 4, "pool": (1, 1, 1)}, _ANY),
    f"{_BLOCKS}:R2Plus1D": ({"width": 4, "pool": (1, 1, 1)}, _ANY),
    f"{_BLOCKS}:SlowFast": (
        {"depth": 50, "width": 8, "beta": 4, "pools": ((1, 1, 1), (4, 1, 1))},
        {"frames": Sizes(least=FRAMES, multiple=4), "sizes_px": Sizes(least=SIDE)},
    ),
    "models.backbones.x3d:X3D": (
        {"built_for": (FRAMES, SIDE), "width_factor": 1.0, "depth_factor": 1.0, "head": 16},
        _ANY,
    ),
    "models.backbones.mvit:MViT": ({"width": 4, "depth": 4, "doubling": (1, 3)}, {}),
    "models.backbones.swin3d:Swin3D": (
        {"width": 8, "depths": (2, 2), "attention_heads": (1, 2)},
        {},
    ),
    "models.backbones.torchvision_s3d:S3D": (
        {},
        {
            "relaxed": {},
            "knobs": {"frames": 8},
            "sizes": {"adaptive_head": True},
            "frames": Sizes(least=8),
            "sizes_px": Sizes(least=SIDE),
        },
    ),
    "models.backbones.timesformer:TimeSformer": (
        {"config": {**_VIT, "image_size": SIDE, "num_frames": FRAMES, "patch_size": 16}},
        {},
    ),
    "models.backbones.videomae:VideoMAE": (
        {
            "config": {
                **_VIT, "patch_size": 16, "tubelet_size": 2, "decoder_hidden_size": 12,
                "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
                "decoder_intermediate_size": 16, "layer_norm_eps": 1e-6,
            }
        },
        {},
    ),
    "models.backbones.vivit:ViViT": ({"config": {**_VIT, "tubelet_size": [2, 16, 16]}}, {}),
    "models.backbones.vjepa2:VJEPA2": (
        {
            "config": {
                **_VIT, "patch_size": 16, "tubelet_size": 2, "mlp_ratio": 2.0,
                "pred_hidden_size": 12, "pred_num_hidden_layers": 1, "num_pooler_layers": 1,
                "pred_num_attention_heads": 2, "pred_num_mask_tokens": 2,
            }
        },
        {},
    ),
    "models.backbones.clip:CLIPFrames": ({"config": _TOWER}, {}),
    "models.backbones.xclip:XCLIPVideo": (
        {
            "config": {
                "projection_dim": 12,
                "vision_config": {
                    **_TOWER, "mit_hidden_size": 12, "mit_intermediate_size": 16,
                    "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2,
                },
                "text_config": {**_VIT, "vocab_size": 20},
                "prompt_num_attention_heads": 2,
            }
        },
        {},
    ),
}  # fmt: skip


def _clip(clip: ClipFormat, frames: int) -> ClipFormat:
    return replace(clip, frames=frames, size_px=SIDE)


def shrunk(row):
    """The row with small sizes, small clips, and checkpoints of any digest; others as they are."""
    if row.target not in SMALL and not row.weights:
        return row
    sizes, changes = SMALL.get(row.target, ({}, {}))
    sizes = {name: value for name, value in sizes.items() if name in row.sizes}
    least = changes.get("frames", row.frames).least
    frames = max(FRAMES, least if changes else FRAMES)
    weights = tuple(
        replace(spec, sha256="", clip=_clip(spec.clip, frames), sizes={**spec.sizes, **sizes})
        for spec in row.weights
    )
    own = {
        "clip": _clip(row.clip, frames),
        "knobs": {**row.knobs, "frames": frames},
        "sizes": {**row.sizes, **sizes},
        "weights": weights,
    }
    return replace(row, **{**own, **changes})


#: Every row of the catalogue, small.
ROWS = {name: shrunk(row) for name, row in MODELS.items()}


def representatives():
    """The smallest row of every trunk: what is of the class is asked of one row alone."""
    chosen = {row.target: row for row in reversed(ROWS.values())}
    chosen[ROWS["mc3_18"].target] = ROWS["mc3_18"]
    return [row for row in ROWS.values() if row in chosen.values()]


def needed(row) -> None:
    """Skip a test of a row whose package is not here."""
    if row.package:
        pytest.importorskip(row.package)
