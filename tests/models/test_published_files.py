"""Small random checkpoints in the form of every published one: loaded, or refused, by name."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from pathlib import Path

import pytest
import torch

import models
from models import state_dicts
from models import weights as files_of
from models.catalogue import MODELS, clip_of, load_target, refusals
from tests import small_models

HEAD = {"classes": 5}


def files():
    """One checkpoint per way in which files are read: row and spec."""
    found = {}
    for row in (small_models.ROWS["mc3_18"], *small_models.ROWS.values()):
        for spec in row.weights:
            if not spec.is_folder and hasattr(*published_by(spec)):
                found.setdefault((row.target, spec.rename), (row, spec))
    return [pytest.param(*pair, id=f"{pair[0].name}-{pair[1].name}") for pair in found.values()]


def published_by(spec):
    """The module and the name of the way back of a checkpoint's function."""
    module, function = spec.rename.split(":")
    return importlib.import_module(module), function.replace("rename", "publish")


@pytest.fixture(autouse=True)
def _small_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(models.catalogue, "MODELS", small_models.ROWS)
    for name in ("AUXSWEEP_WEIGHTS", "TORCH_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))


def written(folder, spec, state, wrap):
    path = folder / spec.file
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(wrap(state), path)
    return path


def container(spec):
    """How its project wraps weights."""
    if "vjepa2" in spec.rename:
        return lambda s: {
            "encoder": {f"module.backbone.{n}": torch.zeros_like(v) for n, v in s.items()},
            "target_encoder": {f"module.backbone.{n}": v for n, v in s.items()},
            "epoch": 3,
        }
    if "s3dg" in spec.rename:
        return lambda s: {f"module.{n}": v for n, v in s.items()}
    key = "model_state" if ".pyth" in spec.file else "module" if "videomae" in spec.rename else ""
    return lambda s: {key: s, "epoch": 3, "cfg": "text"} if key else s


@pytest.mark.parametrize(("row", "spec"), files())
def test_it_is_loaded_by_name_and_what_does_not_fit_is_refused(row, spec, tmp_path):
    small_models.needed(row)
    heads = HEAD if "s3dg" not in spec.rename and row.name not in {"vjepa2", "clip"} else {}
    saved = models.build(row.name, heads=heads, seed=1)
    theirs = getattr(*published_by(spec))(saved.state_dict())
    wrap = container(spec)
    written(tmp_path, spec, theirs, wrap)
    again = models.build(row.name, heads=heads, seed=2, weights=spec.name)
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.state_dict().items())
    name = next(n for n in saved.state_dict() if n.startswith("trunk.") and n.endswith("weight"))
    (published,) = [
        n for n, v in theirs.items() if v.data_ptr() == saved.state_dict()[name].data_ptr()
    ] or [next(iter(theirs))]
    for change, message in (
        ({n: v for n, v in theirs.items() if n != published}, "missing: "),
        ({**theirs, "strange.weight": torch.ones(1)}, r"unexpected: \S*strange\.weight"),
        ({**theirs, published: torch.ones((1,) * theirs[published].ndim)}, "of another shape: "),
    ):
        written(tmp_path, spec, change, wrap)
        with pytest.raises(ValueError, match=message) as caught:
            models.build(row.name, heads=heads, weights=spec.name)
        if "unexpected" not in message:
            assert "trunk." in str(caught.value)


def hub_class(row):
    """The class of transformers, and its configuration at small sizes."""
    transformers = pytest.importorskip("transformers")
    config = dict(row.sizes["config"])
    kinds = {
        "timesformer": "TimesformerForVideoClassification",
        "videomae": "VideoMAEForVideoClassification",
        "vivit": "VivitForVideoClassification",
        "vjepa2": "VJEPA2ForVideoClassification",
        "clip": "CLIPVisionModelWithProjection",
        "xclip": "XCLIPModel",
    }
    kind = getattr(transformers, kinds[row.name])
    sizes = {
        "vjepa2": {"crop_size": small_models.SIDE, "frames_per_clip": small_models.FRAMES},
        "clip": {"image_size": small_models.SIDE},
        "xclip": {},
    }.get(row.name, {"image_size": small_models.SIDE, "num_frames": small_models.FRAMES})
    if row.name == "xclip":
        side = {"image_size": small_models.SIDE, "num_frames": small_models.FRAMES}
        config["vision_config"] = {**config["vision_config"], **side}
    if "ForVideo" in kinds[row.name]:
        sizes["num_labels"] = 5
    return kind, kind.config_class(**{**config, **sizes})


HUB = [row for row in small_models.ROWS.values() if any(s.is_folder for s in row.weights)]


@pytest.mark.parametrize("row", HUB, ids=lambda row: row.name)
def test_a_folder_of_transformers_gives_the_numbers_of_the_library(row, tmp_path):
    kind, config = hub_class(row)
    spec = next(s for s in row.weights if s.is_folder)
    torch.manual_seed(5)
    theirs = kind(config).eval()
    with torch.no_grad():  # tables that the library draws as zeros
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    folder = tmp_path / spec.file
    theirs.save_pretrained(folder)
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**processor, "size": {"shortest_edge": 40}, "crop_size": small_models.SIDE})
    )
    has_head = config.architectures[0].endswith("ForVideoClassification")
    heads = HEAD if has_head else {}
    by_name = models.build(row.name, heads=heads, weights=spec.name).eval()
    by_folder = models.build(f"hf:{folder}", heads=heads, weights="folder").eval()
    assert by_name.clip == by_folder.clip
    assert by_name.clip.mean == (0.1, 0.2, 0.3)
    assert by_name.clip.crop_share == pytest.approx(0.8)
    assert (by_name.clip.frames, by_name.clip.size_px)[1] == small_models.SIDE
    pixels = torch.rand(2, by_name.clip.frames, 3, small_models.SIDE, small_models.SIDE)
    inside = by_name.normalise(pixels)
    with torch.inference_mode():
        found = by_name.encode_video(pixels)
        other = by_folder.encode_video(pixels)
        if has_head:
            name, expected = "logits", theirs(inside).logits
        elif row.name == "clip":
            made = theirs(pixel_values=inside.flatten(0, 1)).image_embeds
            name, expected = "frames", made.unflatten(0, inside.shape[:2])
        else:
            name, expected = "video", theirs.get_video_features(inside).pooler_output
    torch.testing.assert_close(found[name], expected)
    torch.testing.assert_close(other[name], expected)

    # in half the width, as some are published: float32 here, and near
    theirs.to(torch.bfloat16).save_pretrained(folder)
    half = models.build(row.name, heads=heads, weights=spec.name)
    assert {p.dtype for p in half.parameters()} == {torch.float32}

    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    state = load_file(file)
    gone = next(n for n in state if "layer" in n and n.endswith("weight"))
    save_file({n: v for n, v in state.items() if n != gone}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="1 missing: ") as caught:
        models.build(row.name, heads=heads, weights=spec.name)
    assert str(folder) in str(caught.value)
    save_file({**state, "strange": torch.ones(1)}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="1 unexpected: strange"):
        models.build(row.name, heads=heads, weights=spec.name)


def test_a_pretrained_videomae_lacks_the_last_norm_alone(tmp_path):
    transformers = pytest.importorskip("transformers")
    row = small_models.ROWS["videomae"]
    _, config = hub_class(row)
    theirs = transformers.VideoMAEForPreTraining(config)
    spec = next(s for s in row.weights if s.name == "pretrained")
    theirs.save_pretrained(tmp_path / spec.file)
    ours = models.build("videomae", heads=HEAD, weights="pretrained")
    own, state = ours.state_dict(), theirs.state_dict()
    name = "encoder.layer.1.attention.output.dense.weight"
    assert torch.equal(own[f"trunk.network.{name}"], state[f"videomae.{name}"])
    assert torch.equal(own["trunk.fc_norm.weight"], torch.ones(24))


@pytest.mark.parametrize("kind", ["ViTForImageClassification", "ResNetModel", "ConvNextModel"])
def test_any_image_network_of_transformers_is_read_frame_by_frame(kind, tmp_path):
    transformers = pytest.importorskip("transformers")
    made = getattr(transformers, kind)
    small = {
        "ViTForImageClassification": {
            "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "image_size": 32, "num_labels": 5,
        },
        "ResNetModel": {
            "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
        },
        "ConvNextModel": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    }[kind]  # fmt: skip
    theirs = made(made.config_class(**small)).eval()
    theirs.save_pretrained(tmp_path / "net")
    name = f"hf:{tmp_path / 'net'}"
    ours = models.build(name, heads=HEAD, weights="folder", size_px=32, frames=3).eval()
    assert isinstance(ours, models.Framewise)
    assert isinstance(models.build(name, heads=HEAD, size_px=32), models.Framewise)  # drawn
    pixels = torch.rand(2, 3, 3, 32, 32)
    base = getattr(theirs, theirs.base_model_prefix, theirs)
    with torch.inference_mode():
        found = ours.encode_video(pixels)
        made = base(pixel_values=ours.normalise(pixels).flatten(0, 1))
    pooled = made.last_hidden_state.mean(1) if kind.startswith("ViT") else made.pooler_output
    torch.testing.assert_close(found["frames"].flatten(0, 1), pooled.flatten(1))
    layers = [p for layer in ours.layers() for p in layer]
    assert {id(p) for p in layers} == {id(p) for p in ours.parameters()}
    assert len(layers) == len(set(map(id, layers)))


def test_a_network_of_clips_without_a_row_is_read_too(tmp_path):
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, "VideoPrismVisionModel", None)
    if kind is None:
        pytest.skip("this version of transformers has no such network")
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32}
    layers = {"num_spatial_layers": 1, "num_temporal_layers": 1, "tubelet_size": [1, 16, 16]}
    theirs = kind(kind.config_class(**sizes, **layers, image_size=32, num_frames=4)).eval()
    theirs.save_pretrained(tmp_path / "net")
    ours = models.build(f"hf:{tmp_path / 'net'}", heads=HEAD, weights="folder").eval()
    assert (ours.clip.frames, ours.clip.size_px) == (4, 32)
    pixels = torch.rand(2, 4, 3, 32, 32)
    with torch.inference_mode():
        found = ours.encode_video(pixels)
        expected = theirs(pixel_values_videos=ours.normalise(pixels)).last_hidden_state
    torch.testing.assert_close(found["video"], expected.mean(1))
    torch.testing.assert_close(found["frames"], expected.unflatten(1, (4, 4)).mean(2))


def test_of_two_towers_that_of_images_is_read_and_strange_weights_are_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    image = {**sizes, "intermediate_size": 32, "image_size": 32, "patch_size": 16}
    text = {**sizes, "intermediate_size": 32, "vocab_size": 20}
    config = transformers.SiglipConfig(vision_config=image, text_config=text)
    theirs = transformers.SiglipModel(config).eval()
    theirs.save_pretrained(tmp_path / "net")
    name = f"hf:{tmp_path / 'net'}"
    ours = models.build(name, heads=HEAD, weights="folder", frames=1).eval()
    pixels = torch.rand(2, 1, 3, 32, 32)
    with torch.inference_mode():
        made = theirs.vision_model(pixel_values=ours.normalise(pixels)[:, 0])
        torch.testing.assert_close(ours.encode_video(pixels)["video"], made.pooler_output)
    rename = load_target("models.backbones.hugging_face:rename")
    state = {**theirs.state_dict(), "strange.weight": torch.ones(1)}
    assert "strange.weight" in rename(state)


def test_image_networks_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    row = models.catalogue.model("timm:resnet10t")
    assert clip_of(row.name).size_px == 176
    network = timm.create_model("resnet10t", num_classes=5).eval()
    folder = tmp_path / "timm" / "resnet10t"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    picture = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 64, 64], "crop_pct": 0.9}
    (folder / "config.json").write_text(
        json.dumps({"architecture": "resnet10t", "pretrained_cfg": picture})
    )
    ours = models.build(row.name, heads=HEAD, frames=2, weights="folder").eval()
    assert (ours.clip.size_px, ours.clip.crop_share) == (64, 0.9)
    pixels = torch.rand(1, 2, 3, 64, 64)
    with torch.inference_mode():
        found = ours.encode_video(pixels)["logits"]
        expected = network(ours.normalise(pixels)[0]).mean(0, keepdim=True)
    torch.testing.assert_close(found, expected)
    layers = [p for layer in ours.layers() for p in layer]
    assert {id(p) for p in layers} == {id(p) for p in ours.parameters()}
    with pytest.raises(ValueError, match="no model 'resnet10x'"):
        models.catalogue.model("timm:resnet10x")


def test_folders_that_are_not_there_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="org/net") as caught:
        models.catalogue.model("hf:org/net")
    assert str(tmp_path / "org" / "net") in str(caught.value)
    assert "models--org--net" in str(caught.value)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no object but list"):
        models.catalogue.model(f"hf:{tmp_path / 'net'}")
    with pytest.raises(ValueError, match="hf:<folder or name>"):
        models.catalogue.model("hff:net")


def test_a_snapshot_in_the_cache_of_the_hub_is_found(tmp_path):
    snapshot = tmp_path / "models--org--net" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    config = {"model_type": "vit", "image_size": 64}
    (snapshot / "config.json").write_text(json.dumps(config))
    assert models.catalogue.model("hf:org/net").clip.size_px == 64
    (tmp_path / "models--org--net" / "refs").mkdir()
    (tmp_path / "models--org--net" / "refs" / "main").write_text("def")
    with pytest.raises(FileNotFoundError, match="def"):
        models.catalogue.model("hf:org/net")


def test_a_foreign_class_in_a_file_is_named(tmp_path):
    path = tmp_path / "file.pyth"
    torch.save({"model_state": {"x": torch.ones(1)}, "cfg": argparse.Namespace(lr=1)}, path)
    with pytest.raises(ValueError, match=r"argparse\.Namespace.*save its state_dict"):
        state_dicts.read(path)
    path.write_bytes(b"no pickle at all")
    with pytest.raises(ValueError, match=str(path)):
        state_dicts.read(path)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("r2plus1d_r50", {"frames": 8}, "8 given; .* at least 13 .*published with 16"),
        ("slow_r50", {"frames": 4}, "4 given; .* at least 8 "),
        ("slow_r50", {"size_px": 112}, "112 given; .* at least 193 .*adaptive_head: at least 32"),
        ("slowfast_r50", {"frames": 64}, r"64 given; .* takes 32 frames .*a multiple of 4"),
        ("x3d_m", {"frames": 8}, "8 given; .* at least 16 "),
        ("x3d_l", {"size_px": 224}, "224 given; .* at least 289 "),
        ("s3d", {"frames": 8}, "8 given; .* at least 13 "),
        ("mvit_v1_b", {"frames": 15}, "15 given; .* multiple of 2"),
        ("timesformer", {"size_px": 100}, "100 given; .* multiple of 16"),
    ],
)
def test_clips_that_cannot_run_are_refused_with_the_numbers_that_can(
    name, settings, told, monkeypatch
):
    monkeypatch.setattr(models.catalogue, "MODELS", MODELS)
    with pytest.raises(ValueError, match=told):
        models.build(name, heads=HEAD, **settings)


@pytest.mark.parametrize(
    "name", [row.name for row in MODELS.values() if "adaptive_head" in row.relaxed]
)
def test_the_least_clip_runs_and_one_less_would_not(name, monkeypatch):
    """Limits are those of the layers, whatever their widths: shown without memory."""
    monkeypatch.setattr(models.catalogue, "MODELS", MODELS)
    row = MODELS[name]

    def runs(frames, size_px, trunk):
        with torch.device("meta"), torch.inference_mode():
            try:
                trunk.features(*trunk(torch.empty(1, frames, 3, size_px, size_px)))
            except RuntimeError:
                return False
        return True

    def built(frames, size_px, **knobs):
        clip = dataclasses.replace(row.clip, frames=frames, size_px=size_px)
        few = {"width": 8, "depth": 50, "depth_factor": 1.0, "head": 16}
        narrow = {size: few[size] for size in few.keys() & row.sizes.keys()}
        with torch.device("meta"):
            return row.load()(clip=clip, **{**row.sizes, **narrow}, **knobs).eval()

    frames, side = row.frames.least, row.sizes_px.least
    trunk = built(frames, side)
    assert runs(frames, side, trunk)
    assert not runs(frames, side - 1, trunk)
    assert not runs(frames - 1, side, trunk)
    small = row.relaxed["adaptive_head"]
    frames, side = small["frames"].least, small["size_px"].least
    assert runs(frames, side, built(frames, side, adaptive_head=True))


@pytest.mark.parametrize(
    "name", [row.name for row in small_models.ROWS.values() if "adaptive_head" in row.relaxed]
)
def test_an_adaptive_head_equals_the_published_one_at_its_clips(name):
    row = small_models.ROWS[name]
    trunk = row.load()
    clip = dataclasses.replace(row.clip, frames=32 if name.startswith("slowfast") else 8)
    grid = trunk(clip=clip, **row.sizes).grid
    windows = {
        "pool": grid,
        "pools": (grid, (clip.frames, *grid[1:])),
        "built_for": (clip.frames, small_models.SIDE),
    }
    sizes = {**row.sizes, **{k: v for k, v in windows.items() if k in row.sizes}}
    torch.manual_seed(0)
    one = trunk(clip=clip, **sizes).eval()
    two = trunk(clip=clip, **sizes, adaptive_head=True).eval()
    two.load_state_dict(one.state_dict())
    pixels = torch.randn(2, clip.frames, 3, small_models.SIDE, small_models.SIDE)
    with torch.inference_mode():
        torch.testing.assert_close(
            one.features(*one(pixels))["video"], two.features(*two(pixels))["video"]
        )


def test_position_tables_of_a_checkpoint_fix_its_clips(monkeypatch):
    monkeypatch.setattr(models.catalogue, "MODELS", MODELS)
    clip = clip_of("mvit_v1_b", weights="kinetics400")
    assert not refusals("mvit_v1_b", clip, weights="kinetics400")
    other = dataclasses.replace(clip, frames=8, size_px=160)
    found = refusals("mvit_v1_b", other, weights="kinetics400")
    assert "takes 16 frames per clip alone" in found["frames"]
    assert "takes 224 pixels" in found["size_px"]
    assert not refusals("mvit_v1_b", other)


def test_the_published_head_gives_probabilities():
    ours = models.build("r2plus1d_r50", heads=HEAD, head="published", size_px=64).eval()
    with torch.inference_mode():
        found = ours.encode_video(torch.rand(2, 4, 3, 64, 64))
    torch.testing.assert_close(found["logits"].sum(1), torch.ones(2))
    assert found["positions"].shape[1] > 1


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s", "swin3d_t", "s3d", "mc3_18"])
def test_numbers_are_those_of_torchvision(name, monkeypatch):
    """At the sizes of the class; the files of torchvision hold what its own class saves."""
    from torchvision.models import video

    monkeypatch.setattr(models.catalogue, "MODELS", MODELS)
    row = MODELS[name]
    frames, side = {"s3d": (13, 209), "mvit_v1_b": (4, 64), "mvit_v2_s": (4, 64)}.get(name, (4, 32))
    if "mvit" in name:  # its builders have one size; the class has every one
        made, sizes = video.mvit._mvit, {"spatial_size": (side, side), "temporal_size": frames}
        monkeypatch.setattr(video.mvit, "_mvit", lambda **given: made(**{**given, **sizes}))
    torch.manual_seed(3)
    theirs = getattr(video, name)(weights=None, num_classes=5).eval()
    ours = models.build(name, heads=HEAD, frames=frames, size_px=side).eval()
    renamed = load_target(row.weights[0].rename)(theirs.state_dict())
    ours.load_state_dict(renamed)
    pixels = torch.rand(1, frames, 3, side, side)
    with torch.inference_mode():
        expected = theirs(ours.normalise(pixels).transpose(1, 2))
        torch.testing.assert_close(ours.encode_video(pixels)["logits"], expected)


def test_an_mvit_goes_round_under_the_names_of_pytorchvideo():
    from models.backbones import mvit

    row = small_models.ROWS["mvit_base_16x4"]
    state = {
        f"trunk.{n}": v for n, v in row.load()(clip=row.clip, **row.sizes).state_dict().items()
    }
    theirs = mvit.publish_pytorchvideo(state)
    again = {n.replace(".pool_q.", "._attention_pool_q.pool."): v for n, v in theirs.items()}
    back = mvit.rename_pytorchvideo({**theirs, **again})
    assert back.keys() == state.keys()
    assert all(torch.equal(back[n], v) for n, v in state.items())


def test_tokens_that_are_left_out_are_never_seen():
    small_models.needed(small_models.ROWS["vjepa2"])
    model = models.build("vjepa2", heads=HEAD, seed=1).eval()
    pixels = torch.rand(1, 4, 3, 32, 32)
    _, rows, columns = model.grid
    seen = torch.arange(rows * columns)[None]  # the first step
    changed = pixels.clone()
    changed[:, 2:] = 0
    with torch.inference_mode():
        one, two = (model.encode_video(p, keep=seen) for p in (pixels, changed))
        whole = model.encode_video(pixels)["tokens"][:, : rows * columns]
    assert set(one) == {"tokens", "video", "logits"}
    assert torch.equal(one["tokens"], two["tokens"])
    assert (one["tokens"] - whole).abs().max() > 1e-4


def test_another_reading_of_a_file_has_a_digest_of_its_own(tmp_path):
    rows = small_models.ROWS["slow_r50"].weights
    named = {spec.name: spec for spec in rows}
    saved = models.build("slow_r50", heads=HEAD)
    torch.save(saved.state_dict(), tmp_path / named["kinetics400"].file)
    hub, study = (files_of.pinned(rows, name) for name in ("kinetics400", "kinetics400-study"))
    assert hub.partition("#")[2] != study.partition("#")[2]
    one, two = (models.build("slow_r50", heads=HEAD, weights=w) for w in (hub, study))
    assert one.clip.mean != two.clip.mean
    assert torch.equal(one.trunk.blocks[0].conv.weight, two.trunk.blocks[0].conv.weight)


def test_of_two_sections_the_slow_average_is_read_and_told(tmp_path, caplog):
    path = tmp_path / "file.pt"
    sections = {name: {"module.backbone.x": torch.full((1,), n)} for n, name in enumerate(ENCODERS)}
    torch.save({**sections, "predictor": {"module.backbone.x": torch.ones(1)}}, path)
    with caplog.at_level("INFO"):
        assert state_dicts.read(path)["x"] == 1
    assert "weights under 'target_encoder'" in caplog.text


ENCODERS = ("encoder", "target_encoder")


def test_checkpoints_lie_in_the_cache_of_the_user_unless_a_folder_is_named(monkeypatch, tmp_path):
    from models.weights import folder

    assert folder() == tmp_path
    monkeypatch.delenv("AUXSWEEP_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder() == tmp_path / "xdg" / "auxsweep" / "weights"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert folder() == Path.home() / ".cache" / "auxsweep" / "weights"
