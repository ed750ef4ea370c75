"""Rows of published networks and their checkpoints (imports no torch).

Clips are those of the projects' own evaluation: numbers of their model pages and transforms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.clip_format import ClipFormat
from models.rows import ModelSpec, Sizes
from models.weights_spec import WeightsSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKENS = frozenset({"tokens", "frames", "video"})
_FRAMES = frozenset({"frames", "video"})
_ANY_SIDE = Sizes(least=32)

# ------------------------------------------------------------------------------------- torchvision

_KINETICS = ClipFormat(
    frames=16,
    size_px=112,
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
    sampler="dense",
    fps=15,
    stretch_px=(128, 171),
    crop_share=0.875,
)
_S3D = replace(_KINETICS, frames=128, size_px=224, stretch_px=(256, 256))
_GREY = ClipFormat(
    frames=16,
    size_px=224,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    sampler="dense",
    crop_share=0.875,
)
_MVIT = replace(_GREY, fps=7.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SWIN = replace(_GREY, frames=32, fps=15, mean=_IMAGENET[0], std=_IMAGENET[1])


def _torchvision(
    file: str, clip: ClipFormat, module: str, name: str = "kinetics400"
) -> WeightsSpec:
    return WeightsSpec(
        name=name,
        file=file,
        source=f"https://download.pytorch.org/models/{file}",
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        clip=clip,
        licence="BSD-3-Clause (torchvision)",
        rename=f"models.backbones.{module}:rename",
    )


def _resnet(name: str, file: str, parameters: str, description: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        provides=_TOKENS,
        clip=_KINETICS,
        sizes_px=Sizes(least=16),
        parameters=f"{parameters} (400 classes)",
        sizes={"builder": name},
        knobs={"frames": 16},
        weights=(_torchvision(file, _KINETICS, "torchvision"),),
        source="arXiv:1711.11248, as in torchvision",
        target="models.backbones.torchvision:ResNet3D",
        description=description,
    )


def _swin(
    name: str, sizes: Mapping[str, Any], parameters: str, weights: Mapping[str, str]
) -> ModelSpec:
    return ModelSpec(
        name=name,
        provides=_TOKENS,
        clip=_SWIN,
        sizes_px=_ANY_SIDE,
        parameters=f"{parameters} (400 classes)",
        sizes={"drop_path": 0.1, **sizes},
        knobs={"frames": 32},
        weights=tuple(_torchvision(f, _SWIN, "swin3d", n) for n, f in weights.items()),
        source="arXiv:2106.13230, as in torchvision",
        target="models.backbones.swin3d:Swin3D",
        description="attention in shifted windows of space and time",
    )


_MVIT_SIZES = {"width": 96, "depth": 16, "doubling": (1, 3, 14), "drop_path": 0.2}


def _mvit(
    name: str, family: str, clip: ClipFormat, weights: WeightsSpec, parameters: str, source: str
) -> ModelSpec:
    return ModelSpec(
        name=name,
        provides=_TOKENS,
        clip=clip,
        sizes_px=Sizes(least=32, multiple=32),
        frames=Sizes(least=2, multiple=2),
        tables=frozenset({"frames", "size_px"}),
        parameters=f"{parameters} (400 classes)",
        sizes={**_MVIT_SIZES, "family": family},
        knobs={"frames": clip.frames},
        weights=(weights,),
        source=source,
        target="models.backbones.mvit:MViT",
        description="vision transformer whose tokens get fewer and wider",
    )


_TORCHVISION = (
    _resnet(
        "r3d_18", "r3d_18-b3b3357e.pth", "33,371,472",
        "18-layer residual network of 3x3x3 convolutions; one vector per 8 frames",
    ),
    _resnet(
        "mc3_18", "mc3_18-a90a0ba3.pth", "11,695,440",
        "18-layer residual network, convolutions over time in its first stages alone",
    ),
    _resnet(
        "r2plus1d_18", "r2plus1d_18-91a641e6.pth", "31,505,325",
        "18-layer residual network of convolutions over space, then over time",
    ),
    ModelSpec(
        name="s3d",
        provides=_TOKENS,
        clip=_S3D,
        # windows of 2 x 7 x 7 after time is divided by 8 and space by 32, rounded down at last
        frames=Sizes(least=13),
        sizes_px=Sizes(least=209),
        relaxed={"adaptive_head": {"frames": Sizes(least=5), "size_px": _ANY_SIDE}},
        parameters="8,320,048 (400 classes)",
        knobs={"frames": 128, "adaptive_head": False},
        weights=(_torchvision("s3d-d76dad2f.pth", _S3D, "torchvision_s3d"),),
        source="arXiv:1712.04851, as in torchvision",
        target="models.backbones.torchvision_s3d:S3D",
        description="inception network of convolutions over space, then over time",
    ),
    _mvit(
        "mvit_v1_b", "v1", _MVIT, _torchvision("mvit_v1_b-dbeb1030.pth", _MVIT, "mvit"),
        "36,610,672", "arXiv:2104.11227, as in torchvision",
    ),
    _mvit(
        "mvit_v2_s", "v2", _MVIT, _torchvision("mvit_v2_s-ae3be167.pth", _MVIT, "mvit"),
        "34,537,744", "arXiv:2112.01526, as in torchvision",
    ),
    _swin(
        "swin3d_t", {"width": 96, "depths": (2, 2, 6, 2), "attention_heads": (3, 6, 12, 24)},
        "28,158,070", {"kinetics400": "swin3d_t-7615ae03.pth"},
    ),
    _swin(
        "swin3d_s", {"width": 96, "depths": (2, 2, 18, 2), "attention_heads": (3, 6, 12, 24)},
        "49,816,678", {"kinetics400": "swin3d_s-da41c237.pth"},
    ),
    _swin(
        "swin3d_b", {"width": 128, "depths": (2, 2, 18, 2), "attention_heads": (4, 8, 16, 32)},
        "88,048,984",
        {
            "kinetics400": "swin3d_b_1k-24f7c7c6.pth",
            "kinetics400-imagenet22k": "swin3d_b_22k-7c6ae6fa.pth",
        },
    ),
)  # fmt: skip

# ------------------------------------------------------------------------------------ pytorchvideo

_OF_THE_STUDY = frozenset(
    {"slow_r50", "i3d_r50", "r2plus1d_r50", "slowfast_r50", "x3d_m", "mvit_base_16x4"}
)
_ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo"


def _grey(frames: int, stride: int, size_px: int = 224, *, page_px: int = 0) -> ClipFormat:
    """Clips of the model pages; ``page_px`` is the crop there, where it is not the network's own.

    Pages crop as much as they resize to.
    """
    share = 1.0 if page_px else 0.875
    return replace(
        _GREY, frames=frames, stride=stride, size_px=page_px or size_px, crop_share=share
    )


def _zoo(file: str, clip: ClipFormat, rename: str, *, name: str = "kinetics400") -> WeightsSpec:
    data = "kinetics" if name == "kinetics400" else name
    return WeightsSpec(
        name=name,
        file=file if name == "kinetics400" else f"{data}/{file}",
        source=f"{_ZOO}/{data}/{file}",
        clip=clip,
        licence="Apache-2.0 (pytorchvideo)",
        rename=f"models.backbones.{rename}",
    )


def _study(spec: WeightsSpec) -> WeightsSpec:
    """The same file with the clips of the robustness study (arXiv:2207.01398): other colours.

    Its loader takes the first frames of equal segments, and all of the centre square.
    """
    clip = replace(
        spec.clip,
        size_px=224,
        mean=_IMAGENET[0],
        std=_IMAGENET[1],
        sampler="segment_first",
        stride=1,
        crop_share=1.0,
    )
    return replace(spec, name=f"{spec.name}-study", clip=clip, reading="study")


def _bottleneck(
    name: str,
    file: str,
    clip: ClipFormat,
    frames: Sizes,
    sizes: Mapping[str, Any],
    parameters: str,
    description: str,
    *,
    target: str = "ResNet",
    frames_relaxed: Sizes | None = None,
    knobs: Mapping[str, Any] | None = None,
    choices: Mapping[str, tuple[str, ...]] | None = None,
    also: tuple[str, ...] = (),
    source: str = "arXiv:1812.03982",
) -> ModelSpec:
    rename = "pytorchvideo:rename"
    first = _zoo(file, clip, rename)
    relaxed = {"frames": frames_relaxed or Sizes(), "size_px": _ANY_SIDE}
    return ModelSpec(
        name=name,
        provides=_TOKENS,
        clip=clip,
        frames=frames,
        # windows of 7 cells after sides are halved five times, rounded up
        sizes_px=Sizes(least=193),
        relaxed={"adaptive_head": relaxed},
        parameters=f"{parameters} (400 classes)",
        sizes={"width": 64, **sizes},
        knobs={"frames": clip.frames, "adaptive_head": False, **(knobs or {})},
        choices=choices or {},
        weights=(
            first,
            *(_zoo(file, clip, rename, name=n) for n in also),
            *((_study(first),) if name in _OF_THE_STUDY else ()),
        ),
        source=f"{source}, as in pytorchvideo",
        target=f"models.backbones.pytorchvideo:{target}",
        description=description,
    )


def _slowfast(name: str, file: str, depth: int, kernel: int, more: Mapping[str, Any]) -> ModelSpec:
    sizes = {"depth": depth, "kernel": kernel, "beta": 8, "fused": 2, "alpha": 4}
    return _bottleneck(
        name,
        file,
        more["clip"],
        Sizes(least=32, most=32),
        {**sizes, "pools": ((8, 7, 7), (32, 7, 7))},
        more["parameters"],
        "a slow pathway of few frames beside a fast and narrow one",
        target="SlowFast",
        frames_relaxed=Sizes(least=4, multiple=4),
        also=more.get("also", ()),
    )


def _x3d(
    name: str, file: str, clip: ClipFormat, side: int, depth: float, parameters: str
) -> ModelSpec:
    window = -(-side // 32)
    first = _zoo(file, clip, "x3d:rename")
    return ModelSpec(
        name=name,
        provides=_TOKENS,
        clip=clip,
        frames=Sizes(least=clip.frames),
        sizes_px=Sizes(least=32 * (window - 1) + 1),
        relaxed={"adaptive_head": {"frames": Sizes(), "size_px": _ANY_SIDE}},
        parameters=f"{parameters} (400 classes)",
        sizes={
            "built_for": (clip.frames, side),
            "width": 12,
            "width_factor": 2.0,
            "depth_factor": depth,
            "head": 2048,
        },
        knobs={"frames": clip.frames, "adaptive_head": False},
        weights=(first, *((_study(first),) if name in _OF_THE_STUDY else ())),
        source="arXiv:2004.04730, as in pytorchvideo",
        target="models.backbones.x3d:X3D",
        description="small network expanded over time, size, width and depth",
    )


def _mvit_zoo(name: str, file: str, frames: int, stride: int, parameters: str) -> ModelSpec:
    clip = _grey(frames, stride)
    weights = _zoo(file, clip, "mvit:rename_pytorchvideo")
    row = _mvit(name, "v1", clip, weights, parameters, "arXiv:2104.11227, as in pytorchvideo")
    return replace(row, weights=(weights, _study(weights))) if name in _OF_THE_STUDY else row


_SLOW = _grey(8, 8, page_px=256)
_FAST = _grey(32, 2, page_px=256)
_PYTORCHVIDEO = (
    _bottleneck(
        "slow_r50", "SLOW_8x8_R50.pyth", _SLOW, Sizes(least=8),
        {"kind": "slow", "depth": 50, "pool": (8, 7, 7)}, "32,454,096",
        "ResNet-50 over frames, joined over time in its last two stages", also=("ssv2",),
    ),
    _bottleneck(
        "c2d_r50", "C2D_8x8_R50.pyth", _grey(8, 8), Sizes(least=8),
        {"kind": "c2d", "depth": 50, "pool": (4, 7, 7)}, "24,327,632",
        "ResNet-50 over frames, pooled over time",
        frames_relaxed=Sizes(least=2), source="arXiv:1711.07971",
    ),
    _bottleneck(
        "i3d_r50", "I3D_8x8_R50.pyth", _grey(8, 8), Sizes(least=8),
        {"kind": "i3d", "depth": 50, "pool": (4, 7, 7)}, "28,043,472",
        "ResNet-50 with convolutions over time in every stage",
        frames_relaxed=Sizes(least=2), source="arXiv:1711.07971",
    ),
    _bottleneck(
        "r2plus1d_r50", "R2PLUS1D_16x4_R50.pyth", _grey(16, 4), Sizes(least=13),
        {"pool": (4, 7, 7)}, "28,107,600",
        "ResNet-50 of convolutions over time, then over space", target="R2Plus1D",
        knobs={"head": "logits"}, choices={"head": ("logits", "published")},
        source="arXiv:1711.11248",
    ),
    _bottleneck(
        "csn_r101", "CSN_32x2_R101.pyth", _grey(32, 2), Sizes(least=25),
        {"kind": "csn", "depth": 101, "pool": (4, 7, 7)}, "22,213,776",
        "ResNet-101 whose 3x3x3 convolutions keep channels apart", source="arXiv:1904.02811",
    ),
    _slowfast(
        "slowfast_r50", "SLOWFAST_8x8_R50.pyth", 50, 7,
        {"clip": _FAST, "parameters": "34,566,488", "also": ("ssv2",)},
    ),
    _slowfast(
        "slowfast_r101", "SLOWFAST_8x8_R101.pyth", 101, 5,
        {"clip": _grey(32, 2), "parameters": "62,826,968"},
    ),
    _x3d("x3d_xs", "X3D_XS.pyth", _grey(4, 12, page_px=182), 160, 2.2, "3,794,274"),
    _x3d("x3d_s", "X3D_S.pyth", _grey(13, 6, page_px=182), 160, 2.2, "3,794,274"),
    _x3d("x3d_m", "X3D_M.pyth", _grey(16, 5, page_px=256), 224, 2.2, "3,794,274"),
    _x3d("x3d_l", "X3D_L.pyth", _grey(16, 5, 312), 312, 5.0, "6,153,384"),
    _mvit_zoo("mvit_base_16x4", "MVIT_B_16x4.pyth", 16, 4, "36,610,672"),
    _mvit_zoo("mvit_base_32x3", "MVIT_B_32x3_f294077834.pyth", 32, 3, "36,611,440"),
)  # fmt: skip

# ----------------------------------------------------------------------------------------- VT-TWINS

_PLAIN_PIXELS = ClipFormat(
    frames=32, size_px=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), sampler="dense", fps=10
)
_VT_TWINS = "VT-TWINS, Google Drive folder 16QH4C6Sr6ptGp-wEnVsAwZem-kp-uLkt"


def _s3dg(name: str, stem: str, parameters: str, weights: WeightsSpec) -> ModelSpec:
    even = 2 if stem == "s2d" else 1
    return ModelSpec(
        name=name,
        provides=_TOKENS | {"joint"},
        clip=weights.clip,
        frames=Sizes(least=2, multiple=even),
        sizes_px=Sizes(least=32, multiple=even),
        parameters=parameters,
        sizes={"stem": stem},
        knobs={"frames": weights.clip.frames},
        weights=(weights,),
        source="arXiv:1712.04851, arXiv:2203.16784",
        target="models.backbones.s3dg:S3DG",
        description="S3D with gates, and an embedding shared with captions",
    )


_HOWTO = WeightsSpec(
    name="howto100m",
    file="pretrained.pth.tar",
    source=_VT_TWINS,
    clip=_PLAIN_PIXELS,
    licence="see its repository",
    rename="models.backbones.s3dg:rename",
    ignored=(r"^text_module\.",),
)
_S3DG = (
    _s3dg("s3dg_s2d", "s2d", "9,670,800", _HOWTO),
    _s3dg("s3dg", "plain", "9,649,872", replace(_HOWTO, name="plain")),
    _s3dg(
        "s3dg_tv", "tv", "9,659,856, without a head",
        replace(
            _torchvision("s3d-d76dad2f.pth", _S3D, "s3dg"),
            rename="models.backbones.s3dg:rename_torchvision",
            ignored=(r"^classifier\.",),
            fresh=(r"\.gating(_b\d)?\.", r"^trunk\.gating\.", r"^trunk\.fc\."),
        ),
    ),
)  # fmt: skip

# ------------------------------------------------------------------------------------- transformers

_TEXT = (r"\.position_ids$", r"text_model\.", r"text_projection", r"logit_scale$")
_TIMESFORMER = replace(_GREY, frames=8, stride=32)
_MASKED = replace(_GREY, frames=16, stride=4, mean=_IMAGENET[0], std=_IMAGENET[1])
_SEGMENTS = replace(_MASKED, sampler="uniform_center", stride=1)
_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_VIVIT = replace(_GREY, frames=32, stride=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_LATENT = replace(_MASKED, frames=64, size_px=256, crop_share=256 / 292)
_CLIP = ClipFormat(
    frames=8,
    size_px=224,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    resize="bicubic",
)
_XCLIP = replace(_CLIP, mean=_IMAGENET[0], std=_IMAGENET[1], resize="bilinear")


def _hub(name: str, folder: str, clip: ClipFormat, rename: str, **more: Any) -> WeightsSpec:
    settings = {"licence": "see its page", **more}
    return WeightsSpec(
        name=name,
        file=folder,
        source=f"the hub of transformers: {folder}",
        clip=clip,
        rename=f"models.backbones.{rename}",
        **settings,
    )


_FACEBOOK_TIMESFORMER = "facebook/timesformer-base-finetuned"
_VJEPA = "https://dl.fbaipublicfiles.com/vjepa2"
_VJEPA_SIZES: Mapping[str, Mapping[str, Any]] = {
    "vitl": {},
    "vith": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16},
    "vitg": {
        "hidden_size": 1408,
        "num_hidden_layers": 40,
        "num_attention_heads": 22,
        "mlp_ratio": 48 / 11,
    },
}


def _vjepa2(name: str, size: str, px: int) -> WeightsSpec:
    return WeightsSpec(
        name=name,
        file=f"{name}.pt",
        source=f"{_VJEPA}/{name}.pt",
        clip=replace(_LATENT, size_px=px),
        licence="MIT (V-JEPA 2)",
        rename="models.backbones.vjepa2:rename_original",
        sizes={"config": _VJEPA_SIZES[size]},
        ignored=(r"^pos_embed$",),
    )


_TRANSFORMERS = (
    ModelSpec(
        name="timesformer",
        provides=_TOKENS,
        clip=_TIMESFORMER,
        frames=Sizes(),
        sizes_px=Sizes(least=32, multiple=16),
        parameters="121,566,352 (base, 400 classes)",
        sizes={"config": {}},
        knobs={"frames": 8},
        weights=(
            WeightsSpec(
                name="kinetics400",
                file="TimeSformer_divST_8x32_224_K400.pyth",
                source="TimeSformer's repository (Dropbox g5t24we9gl5yk88)",
                clip=_TIMESFORMER,
                licence="CC-BY-NC-4.0 (TimeSformer)",
                rename="models.backbones.timesformer:rename_original",
                sizes={"config": {"num_frames": 8, "image_size": 224}},
            ),
            _hub("k400-hub", f"{_FACEBOOK_TIMESFORMER}-k400", _TIMESFORMER, "timesformer:rename"),
            _hub("k600-hub", f"{_FACEBOOK_TIMESFORMER}-k600", _TIMESFORMER, "timesformer:rename"),
            _hub("ssv2-hub", f"{_FACEBOOK_TIMESFORMER}-ssv2", _TIMESFORMER, "timesformer:rename"),
        ),
        package="transformers",
        extra="backbones",
        source="arXiv:2102.05095",
        target="models.backbones.timesformer:TimeSformer",
        description="vision transformer, attention over time and over space in turn",
    ),
    ModelSpec(
        name="videomae",
        provides=_TOKENS,
        clip=_MASKED,
        frames=Sizes(least=2, multiple=2),
        sizes_px=Sizes(least=32, multiple=16),
        parameters="86,534,800 (base, 400 classes)",
        sizes={"config": {"layer_norm_eps": 1e-6}, "norm_eps": 1e-6},
        knobs={"frames": 16},
        weights=(
            *(
                _hub(
                    name, f"MCG-NJU/videomae-{folder}", clip, "videomae:rename",
                    ignored=(r"^decoder\.", r"^encoder_to_decoder\.", r"^mask_token$"),
                    fresh=(r"^trunk\.fc_norm\.",),
                    sizes={"config": config, "norm_eps": 1e-5},
                )
                for name, folder, clip, config in (
                    ("kinetics400", "base-finetuned-kinetics", _MASKED, {}),
                    ("ssv2", "base-finetuned-ssv2", _SEGMENTS, {}),
                    ("pretrained", "base", _MASKED, {}),
                    ("pretrained-large", "large", _MASKED, _LARGE),
                )
            ),
            WeightsSpec(
                name="original",
                file="videomae_vitb_finetune.pth",
                source="the model zoo of VideoMAE's repository (fine-tuned ViT-B, under any name)",
                clip=_MASKED,
                licence="CC-BY-NC-4.0 (VideoMAE)",
                rename="models.backbones.videomae:rename_original",
            ),
        ),
        package="transformers",
        extra="backbones",
        source="arXiv:2203.12602",
        target="models.backbones.videomae:VideoMAE",
        description="plain vision transformer over tubelets, pre-trained by masking",
    ),
    ModelSpec(
        name="vivit",
        provides=_TOKENS,
        clip=_VIVIT,
        frames=Sizes(least=2, multiple=2),
        sizes_px=Sizes(least=32, multiple=16),
        tables=frozenset({"frames", "size_px"}),
        parameters="88,954,000 (base, 400 classes)",
        sizes={"config": {}},
        knobs={"frames": 32},
        weights=(
            _hub(
                "kinetics400", "google/vivit-b-16x2-kinetics400", _VIVIT, "vivit:rename",
                ignored=(r"^vivit\.pooler\.",),
            ),
        ),
        package="transformers",
        extra="backbones",
        source="arXiv:2103.15691",
        target="models.backbones.vivit:ViViT",
        description="vision transformer with joint attention over tubelets",
    ),
    ModelSpec(
        name="vjepa2",
        provides=_TOKENS,
        clip=_LATENT,
        frames=Sizes(least=2, multiple=2),
        sizes_px=Sizes(least=32, multiple=16),
        parameters="303,885,312 (large, without a head)",
        sizes={
            "config": {}, "probe": False, "probe_heads": 0, "probe_eps": 1e-5, "predictor": False,
        },
        knobs={"frames": 64},
        weights=(
            _vjepa2("vitl", "vitl", 256),
            _vjepa2("vith", "vith", 256),
            _vjepa2("vitg", "vitg", 256),
            _vjepa2("vitg-384", "vitg", 384),
            *(
                _hub(
                    name, f"facebook/vjepa2-{folder}", replace(_LATENT, frames=frames),
                    "vjepa2:rename",
                    ignored=(r"^vjepa2\.predictor\.",),
                    sizes={"probe": probe, "probe_eps": 1e-6, "config": {}},
                )
                for name, folder, frames, probe in (
                    ("vitl-hub", "vitl-fpc64-256", 64, False),
                    ("ssv2-hub", "vitl-fpc16-256-ssv2", 16, True),
                    ("diving48-hub", "vitl-fpc32-256-diving48", 32, True),
                )
            ),
        ),
        package="transformers",
        extra="backbones",
        source="arXiv:2506.09985",
        target="models.backbones.vjepa2:VJEPA2",
        description="vision transformer over tubelets, trained to predict latents",
    ),
    ModelSpec(
        name="clip",
        provides=_FRAMES,
        clip=_CLIP,
        sizes_px=_ANY_SIDE,
        tables=frozenset({"size_px"}),
        parameters="87,849,216 (B/32, without a head)",
        sizes={"config": {}},
        knobs={"frames": 8},
        weights=(
            _hub("b32", "openai/clip-vit-base-patch32", _CLIP, "clip:rename", ignored=_TEXT),
            _hub(
                "b16", "openai/clip-vit-base-patch16", _CLIP, "clip:rename", ignored=_TEXT,
                sizes={"config": {"patch_size": 16}},
            ),
            WeightsSpec(
                name="openai",
                file="ViT-B-32.state_dict.pt",
                source="OpenAI's ViT-B-32.pt; save its state_dict(), it is a TorchScript archive",
                clip=_CLIP,
                licence="MIT (CLIP)",
                rename="models.backbones.clip:rename_openai",
                ignored=(
                    r"^transformer\.", r"^token_embedding\.", r"^positional_embedding$",
                    r"^ln_final\.", r"^text_projection$", r"^logit_scale$",
                    r"^(input_resolution|context_length|vocab_size)$",
                ),
            ),
        ),
        package="transformers",
        extra="backbones",
        source="arXiv:2103.00020",
        target="models.backbones.clip:CLIPFrames",
        description="image tower of CLIP, frame by frame; blind to order",
    ),
    ModelSpec(
        name="xclip",
        provides=_TOKENS,
        clip=_XCLIP,
        sizes_px=_ANY_SIDE,
        tables=frozenset({"frames", "size_px"}),
        parameters="126,459,648 (B/32, without a head)",
        sizes={"config": {}},
        knobs={"frames": 8},
        weights=(
            _hub(
                "b32", "microsoft/xclip-base-patch32", _XCLIP, "xclip:rename",
                ignored=(*_TEXT, r"prompts_"),
            ),
        ),
        package="transformers",
        extra="backbones",
        source="arXiv:2208.02816",
        target="models.backbones.xclip:XCLIPVideo",
        description="CLIP's image tower with messages between frames",
    ),
)  # fmt: skip

ROWS = (*_TORCHVISION, *_PYTORCHVIDEO, *_S3DG, *_TRANSFORMERS)
