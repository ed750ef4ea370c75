"""Published networks with small random weights against the numbers of the published code.

Sizes come from the stored settings and arrays. Every output is compared in float64, and once
more in float32 with a bound on the largest error over the spread of the stored array.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from models.assembled import AssembledModel
from models.backbones import s3dg
from models.catalogue import MODELS, load_target
from models.clip_format import ClipFormat
from models.heads import Classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

EXACT = {"rtol": 1e-9, "atol": 1e-10}
#: Largest error over the standard deviation of what is stored, in float32.
CNN, TRANSFORMER = 3e-3, 1e-4


def clip_of(video: np.ndarray) -> ClipFormat:
    """The format of clips ``(batch, 3, frames, size, size)`` that are normalised already."""
    _, _, frames, _, size = video.shape
    return ClipFormat(frames=frames, size_px=size, mean=(0.0,) * 3, std=(1.0,) * 3)


def weights(read) -> dict[str, Tensor]:
    """What a file holds of weights, under their published names."""
    names = [name for name in read.names if name.startswith("w__")]
    return {name.removeprefix("w__"): torch.from_numpy(read.input(name)) for name in names}


def loaded(
    trunk: nn.Module, clip: ClipFormat, state: Mapping[str, Tensor], classes: int
) -> AssembledModel:
    """The trunk with a head of its own kind, and with these weights: none missing, none more."""
    make = getattr(trunk, "heads", {}).get("classes", Classes)
    head = make(trunk.widths["video"], classes)
    model = AssembledModel(
        name="stored", clip=clip, trunk=trunk, heads={"classes": head}, text=None, tokenizer=None
    )
    model.load_state_dict(state)
    return model.eval()


def pixels(video: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(video).to(dtype).transpose(1, 2)


def compare(
    read,
    model: nn.Module,
    outputs: Callable[[Tensor], Mapping[str, Tensor]],
    bound: float,
) -> None:
    """Hold the outputs of a model for the stored video against the stored ones, in both widths."""
    video = read.input("video")
    for dtype in (torch.float64, torch.float32):
        model.to(dtype)
        with torch.inference_mode():
            found = outputs(pixels(video, dtype))
        for name, value in found.items():
            stored = read.input(f"out__{name}")
            if dtype == torch.float64:
                read.compare(f"out__{name}", value, **EXACT)
                continue
            note = "float32, largest error over std"
            error = np.abs(value.double().numpy() - stored).max() if stored.size else 0.0
            if value.shape != stored.shape:
                error, note = math.inf, f"shape {tuple(value.shape)}, stored {stored.shape}"
            read.judge(f"out__{name}", error / stored.std(), bound, note)


def of_row(name: str, clip: ClipFormat, **sizes: Any) -> nn.Module:
    row = MODELS[name]
    return row.load()(clip=clip, **{**row.sizes, **sizes})


def check_bottleneck(name: str) -> Callable[[Any], None]:
    """One pathway: slow_r50, i3d_r50."""

    def check(read) -> None:
        clip, width = clip_of(read.input("video")), int(read.input("stem_dim_out"))
        pool = tuple(read.input("head_pool").tolist())
        trunk = of_row(name, clip, width=width, pool=pool)
        state = load_target(MODELS[name].weights[0].rename)(weights(read))
        model = loaded(trunk, clip, state, int(read.input("num_classes")))

        def outputs(video: Tensor) -> dict[str, Tensor]:
            found = model.encode_video(video)
            return {"head": found["logits"], "pooled": found["video"]}

        compare(read, model, outputs, CNN)

    return check


def check_r2plus1d(read) -> None:
    """The published head gives probabilities; ours gives the mean of the stored class scores."""
    video = read.input("video")
    clip, width = clip_of(video), int(read.input("stem_dim_out"))
    sizes = {"width": width, "pool": tuple(read.input("head_pool").tolist())}
    state = load_target(MODELS["r2plus1d_r50"].weights[0].rename)(weights(read))
    classes = int(read.input("num_classes"))
    model = loaded(of_row("r2plus1d_r50", clip, head="published", **sizes), clip, state, classes)
    plain = loaded(of_row("r2plus1d_r50", clip, **sizes), clip, state, classes)

    def outputs(video: Tensor) -> dict[str, Tensor]:
        found = model.encode_video(video)
        head = model.classifier
        scores = nn.functional.linear(found["positions"], head.weight, head.bias)
        ours = plain.to(video.dtype).encode_video(video)["logits"]
        torch.testing.assert_close(ours, scores.mean(1))
        return {
            "head": found["logits"],
            "pooled": found["video"],
            "logits_positions": scores.transpose(1, 2),
        }

    compare(read, model, outputs, CNN)


def check_slowfast(read) -> None:
    clip = clip_of(read.input("video"))
    slow, fast = (int(n) for n in read.input("stem_dim_outs"))
    pools = tuple(tuple(pool) for pool in read.input("head_pool").tolist())
    state = weights(read)
    told = state["blocks.0.multipathway_fusion.conv_fast_to_slow.weight"]
    read.input("channel_reduction_ratio")
    trunk = of_row(
        "slowfast_r50",
        clip,
        width=slow,
        beta=slow // fast,
        fused=told.shape[0] // told.shape[1],
        kernel=told.shape[2],
        alpha=int(read.input("alpha")),
        pools=pools,
    )
    state = load_target(MODELS["slowfast_r50"].weights[0].rename)(state)
    model = loaded(trunk, clip, state, int(read.input("num_classes")))

    def outputs(video: Tensor) -> dict[str, Tensor]:
        found = model.encode_video(video)
        return {"head": found["logits"], "pooled": found["video"]}

    compare(read, model, outputs, CNN)


def check_x3d(read) -> None:
    clip = clip_of(read.input("video"))
    settings = {
        "width": int(read.input("stem_dim_in")),
        "width_factor": float(read.input("width_factor")),
        "depth_factor": float(read.input("depth_factor")),
        "head": int(read.input("head_dim_out")),
        "built_for": (int(read.input("input_clip_length")), int(read.input("input_crop_size"))),
    }
    state = load_target(MODELS["x3d_m"].weights[0].rename)(weights(read))
    model = loaded(of_row("x3d_m", clip, **settings), clip, state, int(read.input("num_classes")))

    def outputs(video: Tensor) -> dict[str, Tensor]:
        found = model.encode_video(video)
        return {"head": found["logits"], "pooled": found["video"]}

    compare(read, model, outputs, CNN)


def check_mvit(read) -> None:
    clip = clip_of(read.input("video"))
    assert (clip.frames, clip.size_px) == tuple(
        int(read.input(name)) for name in ("temporal_size", "spatial_size")
    )
    sizes = {
        "width": int(read.input("patch_embed_dim")),
        "depth": int(read.input("depth")),
        "doubling": tuple(read.input("mul_at").tolist()),
    }
    state = load_target(MODELS["mvit_base_16x4"].weights[0].rename)(weights(read))
    trunk = of_row("mvit_base_16x4", clip, **sizes)
    model = loaded(trunk, clip, state, int(read.input("num_classes")))

    def outputs(video: Tensor) -> dict[str, Tensor]:
        found = model.encode_video(video)
        (tokens,) = trunk(video)
        assert torch.equal(found["tokens"], tokens[:, 1:])
        return {"head": found["logits"], "pooled": found["video"], "tokens": tokens}

    compare(read, model, outputs, TRANSFORMER)


def plain_config(read) -> dict[str, Any]:
    """Settings that TimeSformer and VideoMAE share, and the size of their MLP from a weight."""
    mlp = next(n for n in read.names if n.startswith("w__") and n.endswith("mlp.fc1.weight"))
    return {
        "image_size": int(read.input("image_size")),
        "patch_size": int(read.input("patch")),
        "hidden_size": int(read.input("hidden")),
        "num_hidden_layers": int(read.input("layers")),
        "num_attention_heads": int(read.input("heads")),
        "num_frames": int(read.input("frames")),
        "intermediate_size": read.input(mlp).shape[0],
        "layer_norm_eps": 1e-6,
    }


def check_timesformer(read) -> None:
    clip = clip_of(read.input("video"))
    trunk = of_row("timesformer", clip, config=plain_config(read))
    state = load_target(MODELS["timesformer"].weights[0].rename)(weights(read))
    model = loaded(trunk, clip, state, int(read.input("num_classes")))

    def outputs(video: Tensor) -> dict[str, Tensor]:
        found = model.encode_video(video)
        (tokens,) = trunk(video)
        steps, rows, columns = trunk.grid  # stored: time fastest
        ours = found["tokens"].unflatten(1, (steps, rows * columns)).transpose(1, 2).flatten(1, 2)
        assert torch.equal(ours, tokens[:, 1:])
        return {"head": found["logits"], "pooled": found["video"], "tokens": tokens}

    compare(read, model, outputs, TRANSFORMER)


def check_videomae(read) -> None:
    clip = clip_of(read.input("video"))
    config = {**plain_config(read), "tubelet_size": int(read.input("tubelet"))}
    trunk = of_row("videomae", clip, config=config)
    rename = "models.backbones.videomae:rename_original"
    state = load_target(rename)(weights(read))
    model = loaded(trunk, clip, state, int(read.input("num_classes")))

    def outputs(video: Tensor) -> dict[str, Tensor]:
        found = model.encode_video(video)
        return {"head": found["logits"], "pooled": found["video"], "tokens": found["tokens"]}

    compare(read, model, outputs, TRANSFORMER)


def check_vjepa2(read) -> None:
    """Encoder, the encoder of a context alone, predictor and probe."""
    clip = clip_of(read.input("video"))
    assert (clip.frames, clip.size_px) == (int(read.input("frames")), int(read.input("px")))
    state, heads = weights(read), int(read.input("heads"))
    sections: dict[str, dict[str, Tensor]] = {"encoder": {}, "predictor": {}, "classifier": {}}
    for name, value in state.items():
        section, _, rest = name.partition(".")
        plain = rest.removeprefix("module.").removeprefix("backbone.")
        sections[section][plain] = value
    predicted = sections["predictor"]["predictor_blocks.0.mlp.fc1.weight"].shape
    config = {
        "hidden_size": int(read.input("hidden")),
        "num_hidden_layers": int(read.input("depth")),
        "num_attention_heads": heads,
        "mlp_ratio": float(read.input("mlp_ratio")),
        "pred_hidden_size": int(read.input("pred_hidden")),
        "pred_num_hidden_layers": int(read.input("pred_depth")),
        "pred_num_attention_heads": int(read.input("pred_heads")),
        "pred_num_mask_tokens": int(read.input("mask_tokens")),
        "pred_mlp_ratio": predicted[0] / predicted[1],
        "num_pooler_layers": int(read.input("probe_depth")) - 1,
    }
    trunk = of_row("vjepa2", clip, config=config, probe=True, probe_heads=heads, predictor=True)
    module = "models.backbones.vjepa2:rename_"
    ours: dict[str, Tensor] = {}
    for section, kind in (
        ("encoder", "original"),
        ("predictor", "predictor"),
        ("classifier", "probe"),
    ):
        ours |= load_target(module + kind)(sections[section])
    model = loaded(trunk, clip, ours, int(read.input("classes")))
    context, target = (torch.from_numpy(read.input(f"{n}_mask")) for n in ("context", "target"))

    def predict(tokens: Tensor, index: int) -> Tensor:
        table = trunk.predictor.embeddings.mask_tokens
        was = table.data
        table.data = was.roll(1 - index, 0)  # the library takes the second one alone
        try:
            return trunk.predictor(tokens, [context], [target]).last_hidden_state
        finally:
            table.data = was

    def outputs(video: Tensor) -> dict[str, Tensor]:
        found = model.encode_video(video)
        (seen,) = trunk(video, context)
        spread = torch.zeros_like(found["tokens"])
        spread = spread.scatter(1, context[..., None].expand_as(seen), seen)
        return {
            "tokens": found["tokens"],
            "context_tokens": seen,
            "pred_mask_index0": predict(spread, 0),
            "pred_mask_index1": predict(spread, 1),
            "pred_from_full": predict(found["tokens"], 1),
            "probe_logits": found["logits"],
            "probe_pooled": found["video"],
        }

    compare(read, model, outputs, TRANSFORMER)


def drawn_s3dg(read, module: nn.Module, first: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Weights by the rule of the stored file: sines of the place and the number of a parameter."""
    gate, factor = (float(read.input(f"{name}_factor")) for name in ("gate", "weight"))
    for k, (name, parameter) in enumerate(module.named_parameters(), start=first):
        i = np.arange(parameter.numel(), dtype=np.float64)
        z = np.sin(12.9898 * i + 78.233 * k + 0.5) * 43758.5453123
        u = 2 * (z - np.floor(z)) - 1
        if name.endswith("word_embd.weight"):
            values = u
        elif parameter.ndim >= 2:
            fan_in = math.prod(parameter.shape[1:])
            values = u * math.sqrt(6 / fan_in) * (gate if "gating" in name else factor)
        elif name.endswith("bias"):
            values = 0.05 * u
        else:
            values = 1 + 0.2 * u
        yield name, torch.from_numpy(values).reshape(parameter.shape).float()


def check_s3dg(read) -> None:
    """Both stems, and the captions."""
    video = read.input("video")
    clip = clip_of(video)
    ids = torch.from_numpy(read.input("text_tokens")).long()
    words = int(read.input("num_words"))
    for stem in ("plain", "s2d"):
        trunk = s3dg.S3DG(clip=clip, stem=stem)
        text = s3dg.TextTower(words=words, padding=True)
        count = len(list(trunk.parameters()))
        with torch.no_grad():
            for part, first in ((trunk, 0), (text, count)):
                for name, value in drawn_s3dg(read, part, first):
                    part.get_parameter(name).copy_(value)
            found = trunk.eval().features(*trunk(pixels(video, torch.float32)))
            found["text"] = text(ids, ids >= 0)
        for name, value in (
            ("embed", found["joint"]),
            ("mixed5c", found["video"]),
            ("text_embed", found["text"]),
        ):
            stored = read.input(f"{stem}_{name}")
            error = np.abs(value.numpy() - stored).max() / stored.std()
            read.judge(f"{stem}_{name}", error, 1e-2, "float32, largest error over std")


FORMATS = {
    "backbone_slow_r50": check_bottleneck("slow_r50"),
    "backbone_i3d_r50": check_bottleneck("i3d_r50"),
    "backbone_r2plus1d_r50": check_r2plus1d,
    "backbone_slowfast_r50": check_slowfast,
    "backbone_x3d": check_x3d,
    "backbone_mvit": check_mvit,
    "backbone_timesformer": check_timesformer,
    "backbone_videomae": check_videomae,
    "backbone_vjepa2": check_vjepa2,
    "vt_twins_s3dg": check_s3dg,
}
