"""At full size, without memory, ours have exactly the names and shapes of the published files."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.backbones import vjepa2
from models.catalogue import MODELS, load_target
from models.renaming import dropped

MANIFESTS = Path(__file__).resolve().parents[2] / ".." / "shared" / "manifests"
TORCHVISION = (
    "r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s",
    "swin3d_t", "swin3d_s", "swin3d_b",
)  # fmt: skip
PYTORCHVIDEO = (
    "slow_r50", "c2d_r50", "i3d_r50", "r2plus1d_r50", "csn_r101", "slowfast_r50", "slowfast_r101",
    "x3d_xs", "x3d_s", "x3d_m", "x3d_l", "mvit_base_16x4", "mvit_base_32x3",
)  # fmt: skip
#: Manifest -> model, checkpoint, and how many classes it has.
WHOLE = {
    **{f"torchvision_{name}": (name, "kinetics400", 400) for name in TORCHVISION},
    **{f"pytorchvideo_{name}": (name, "kinetics400", 400) for name in PYTORCHVIDEO},
    "timesformer_divst_8x32_224": ("timesformer", "kinetics400", 400),
    "hf_timesformer_base_k400": ("timesformer", "k400-hub", 400),
    "videomae_vitb_finetune": ("videomae", "original", 400),
    "hf_videomae_base_k400": ("videomae", "kinetics400", 400),
    "hf_videomae_base_pretrain": ("videomae", "pretrained", 0),
    "hf_vivit_b16x2_k400": ("vivit", "kinetics400", 400),
    "hf_clip_vitb32": ("clip", "b32", 0),
    "openai_clip_vitb32": ("clip", "openai", 0),
    "hf_xclip_b32": ("xclip", "b32", 0),
    "vt_twins_s3dg_plain": ("s3dg", "plain", 0),
    "vt_twins_s3dg_s2d": ("s3dg_s2d", "howto100m", 0),
}
VJEPA2 = {
    "vjepa2_vit_large": "vitl",
    "vjepa2_vit_huge": "vith",
    "vjepa2_vit_giant_xformers": "vitg",
    "vjepa2_vit_giant_xformers_384": "vitg-384",
}


def published(manifest):
    """Tensors without memory by name, as the manifest lists them; skips where it is not."""
    path = MANIFESTS / f"{manifest}.json.gz"
    if not path.is_file():
        pytest.skip("no manifests here")
    keys = json.loads(gzip.decompress(path.read_bytes()))["keys"]
    return {name: torch.empty(shape, device="meta") for name, shape in keys.items()}


def ours(model, checkpoint, classes, **sizes):
    """The row, its checkpoint, and the state of the model at the checkpoint's sizes."""
    row = MODELS[model]
    if row.package:
        pytest.importorskip(row.package)
    spec = next(spec for spec in row.weights if spec.name == checkpoint)
    clip = small_clip(model, spec.clip)
    with torch.device("meta"):
        trunk = row.load()(clip=clip, **{**row.sizes, **spec.sizes, **sizes})
        parts = {"trunk": trunk}
        if classes:
            parts["classifier"] = nn.Linear(trunk.widths["video"], classes)
        state = nn.ModuleDict(parts).state_dict()
    return row, spec, state


def small_clip(model, clip):
    """VideoMAE's positions are no weights, and take seconds to make at full size."""
    return replace(clip, frames=4, size_px=32) if model == "videomae" else clip


def shapes(state):
    return {name: tuple(value.shape) for name, value in state.items()}


def without(state, patterns):
    return {n: v for n, v in state.items() if not any(re.search(p, n) for p in patterns)}


@pytest.mark.parametrize("manifest", WHOLE)
def test_names_and_shapes_are_those_of_the_file_both_ways(manifest):
    theirs = published(manifest)
    _, spec, state = ours(*WHOLE[manifest])
    wanted = dropped(theirs, spec.ignored)
    assert len(wanted) > 100
    renamed = load_target(spec.rename)(wanted)
    # what a checkpoint may lack is there in some that are read by the same row
    owned = without(state, [p for p in spec.fresh if without(renamed, [p]) == renamed])
    assert shapes(renamed) == shapes(owned)
    publish = load_target(spec.rename.replace(":rename", ":publish"))
    assert shapes(publish(owned)) == shapes(wanted)


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_as_many_as_the_row_says(name):
    row = MODELS[name]
    if row.package:
        pytest.importorskip(row.package)
    clip = small_clip(name, row.clip)
    with torch.device("meta"):
        trunk = row.load()(clip=clip, **row.sizes)
        count = sum(p.numel() for p in trunk.parameters())
        classes = 8 if "8 classes" in row.parameters else 400 if "classes" in row.parameters else 0
        count += (trunk.widths["video"] + 1) * classes if classes else 0
    assert f"{count:,}" in row.parameters


def test_torchvisions_s3d_fills_ours_but_for_gates_and_embedding():
    theirs = published("torchvision_s3d")
    _, spec, state = ours("s3dg_tv", "kinetics400", 0)
    found = load_target(spec.rename)(dropped(theirs, spec.ignored))
    assert shapes(found) == shapes(without(state, spec.fresh))
    assert len(state) - len(found) == 2 * 37 + 2


@pytest.mark.parametrize("manifest", VJEPA2)
def test_encoder_and_predictor_of_vjepa2(manifest):
    theirs = published(manifest)
    sections = {
        part: {
            n.partition("module.backbone.")[2]: v for n, v in theirs.items() if n.startswith(part)
        }
        for part in ("encoder", "predictor")
    }
    _, _, state = ours("vjepa2", VJEPA2[manifest], 0, predictor=True)
    found = vjepa2.rename_original(sections["encoder"])
    found |= vjepa2.rename_predictor(sections["predictor"])
    assert shapes(found) == shapes(state)
    for part, publish in (
        ("encoder", vjepa2.publish_original),
        ("predictor", vjepa2.publish_predictor),
    ):
        own = {n: v for n, v in state.items() if n.startswith(f"trunk.{part}.")}
        assert shapes(publish(own)) == shapes(sections[part])


@pytest.mark.parametrize(("manifest", "size"), [("1024", "vitl"), ("1408", "vitg")])
def test_probes_of_vjepa2(manifest, size):
    theirs = {
        n.removeprefix("module."): v for n, v in published(f"vjepa2_probe_{manifest}").items()
    }
    classes = theirs["linear.bias"].shape[0]
    _, _, state = ours("vjepa2", size, classes, probe=True, probe_heads=16)
    own = {n: v for n, v in state.items() if "pooler" in n or "classifier" in n}
    assert shapes(vjepa2.rename_probe(theirs)) == shapes(own)
    assert shapes(vjepa2.publish_probe(own)) == shapes(theirs)


@pytest.mark.parametrize(
    ("manifest", "checkpoint", "prefix"),
    [("hf_vjepa2_vitl", "vitl-hub", "vjepa2."), ("hf_vjepa2_vitl_ssv2", "ssv2-hub", "")],
)
def test_vjepa2_of_transformers(manifest, checkpoint, prefix):
    theirs = {prefix + name: value for name, value in published(manifest).items()}
    classes = theirs["classifier.bias"].shape[0] if "classifier.bias" in theirs else 0
    _, _, state = ours("vjepa2", checkpoint, classes, predictor=True)
    assert shapes(vjepa2.rename(theirs)) == shapes(state)
    assert shapes(vjepa2.publish(state)) == shapes(theirs)
