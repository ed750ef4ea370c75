"""What every row of the catalogue promises: features, widths, layers, draws, checkpoints."""

import argparse
import copy
import dataclasses
import math

import pytest
import torch

import models
from models import state_dicts
from models import weights as files
from models.catalogue import HEADS, MODELS, TEXT_FEATURES, clip_of
from models.words import Vocabulary
from tests import small_models

ROWS = list(small_models.ROWS.values())
WORDS = Vocabulary({f"word{n}": n for n in range(3, 11)}, 5)
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
every_trunk = pytest.mark.parametrize(
    "row", small_models.representatives(), ids=lambda row: row.name
)


@pytest.fixture(autouse=True)
def _small_rows(monkeypatch):
    monkeypatch.setattr(models.catalogue, "MODELS", small_models.ROWS)


def small(row, **more):
    """The row with all its heads, on clips as small as it takes."""
    small_models.needed(row)
    heads = {
        name: head.outputs if isinstance(head.outputs, int) else 5
        for name, head in HEADS.items()
        if head.reads in row.provides
    }
    sizes = {"size_px": max(32, row.sizes_px.least)}
    if "frames" in row.knobs:
        sizes["frames"] = max(4, row.frames.least)
    words = WORDS if row.text else None
    return models.build(row.name, **{"heads": heads, "words": words, **sizes, **more})


def inputs(model, batch=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    size = model.clip.size_px
    given = {"pixels": torch.rand(batch, model.clip.frames, 3, size, size, generator=rng)}
    if model.tokenizer is not None:
        ids = torch.randint(1, WORDS.size, (batch, 3), generator=rng)
        given |= {"caption_ids": ids, "caption_mask": ids > 0}
    return given


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


@every_row
def test_provides_is_what_comes_out_and_widths_are_true(row):
    model = small(row)
    assert isinstance(model.clip, models.ClipFormat)
    features = model(**inputs(model))
    assert set(features) == row.features
    assert {name: value.shape[-1] for name, value in features.items()} == dict(model.widths)
    assert features["frames"].shape[:2] == (2, model.clip.frames)
    if "tokens" in features:
        assert features["tokens"].shape[1] == math.prod(model.grid)
    bare = small(row, heads={}, words=None)
    assert set(bare.encode_video(inputs(bare)["pixels"])) == row.provides - TEXT_FEATURES
    assert bare.tokenizer is None
    for name in model.shared:
        assert model.get_submodule(name) is not None


@every_trunk
def test_pixels_are_normalised_by_the_model(row):
    model = small(row).eval()
    pixels = inputs(model)["pixels"]
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (model.clip.mean, model.clip.std))
    trunk = model.trunk
    direct = trunk.features(*trunk((pixels - mean) / std))["video"]
    torch.testing.assert_close(model.encode_video(pixels)["video"], direct)
    with pytest.raises(ValueError, match="clips of shape"):
        model.encode_video(pixels[:, :, :, 1:])
    assert not [name for name in model.state_dict() if name.startswith("normalise")]


@pytest.mark.parametrize("row", [r for r in ROWS if r.text], ids=lambda row: row.name)
def test_padding_of_words_changes_nothing(row):
    model = small(row).eval()
    short = torch.tensor([[3, 4, 5]])
    padded = torch.tensor([[3, 4, 5, WORDS.pad, WORDS.pad]])
    one, two = (model.encode_text(ids, ids != WORDS.pad) for ids in (short, padded))
    torch.testing.assert_close(one["text_embed"], two["text_embed"])
    torch.testing.assert_close(one["text_tokens"], two["text_tokens"][:, :3])
    assert not two["text_tokens"][:, 3:].any()


@every_trunk
def test_layers_cover_every_parameter_once_from_input_to_output(row):
    model = small(row)
    layers = [list(layer) for layer in model.layers()]
    found = [id(p) for layer in layers for p in layer]
    assert len(found) == len(set(found))
    assert set(found) == {id(p) for p in model.parameters()}
    assert all(layers)
    heads = {id(p) for h in model.heads for p in model.get_submodule(HEADS[h].part).parameters()}
    assert {id(p) for p in layers[-1]} == heads
    first = next(iter(model.trunk.parameters()))
    assert any(p is first for p in layers[0])


@every_trunk
def test_drawn_twice_is_equal_and_parts_do_not_depend_on_each_other(row):
    before = torch.get_rng_state()
    one, two = small(row, seed=7).state_dict(), small(row, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), before), "the global stream is left alone"
    assert equal(one, two)
    bare = small(row, seed=7, heads={}, words=None).state_dict()
    assert all(torch.equal(one[name], value) for name, value in bare.items())
    other = small(row, seed=8).state_dict()
    drawn = [n for n, value in one.items() if value.is_floating_point() and value.std() > 0]
    assert drawn
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, first jvp
@every_trunk
def test_a_meta_step_runs_and_agrees_with_reverse_mode(row):
    model = small(row).double()
    statistics = {n: b.clone() for n, b in model.named_buffers()}
    weights = {n: p.detach() for n, p in model.named_parameters()}
    rng = torch.Generator().manual_seed(1)
    tangents = {n: torch.randn(p.shape, generator=rng).to(p) for n, p in weights.items()}
    given = {n: v.double() if v.is_floating_point() else v for n, v in inputs(model).items()}

    def outcome(values):
        features = torch.func.functional_call(model, values, (), given)
        return torch.stack([features[name].cos().mean() for name in sorted(features)]).sum()

    with models.meta_pass(model):
        value, change = torch.func.jvp(outcome, (weights,), (tangents,))
        leaves = {n: p.clone().requires_grad_() for n, p in weights.items()}
        again = outcome(leaves)
        grads = torch.autograd.grad(again, list(leaves.values()), allow_unused=True)
    assert model.training
    torch.testing.assert_close(value, again.detach())
    found = [(g * tangents[n]).sum() for n, g in zip(leaves, grads, strict=True) if g is not None]
    torch.testing.assert_close(change, sum(found), rtol=1e-6, atol=1e-9)
    assert all(torch.equal(statistics[n], b) for n, b in model.named_buffers())


@every_trunk
def test_views_but_the_first_leave_the_statistics_alone(row):
    model = small(row)
    before = copy.deepcopy(model.state_dict())
    with models.frozen_statistics(model):
        model(**inputs(model))
    assert equal(model.state_dict(), before)


@every_trunk
def test_a_checkpoint_saved_from_itself_is_loaded_whole(row, tmp_path):
    path = tmp_path / "saved.pth"
    saved = small(row, seed=3)
    torch.save(saved.state_dict(), path)
    again = small(row, seed=4, weights=str(path))
    assert equal(again.state_dict(), saved.state_dict())
    # other classes: the head is drawn, everything else is loaded
    heads = {"classes": 6} | ({"joint": 64} if row.text else {})
    more, drawn = (
        small(row, seed=4, weights=str(path), heads=heads),
        small(row, seed=4, heads=heads),
    )
    assert torch.equal(next(more.trunk.parameters()), next(saved.trunk.parameters()))
    assert torch.equal(more.classifier.weight, drawn.classifier.weight)


@every_trunk
def test_names_that_do_not_fit_are_refused_by_name(row, tmp_path):
    path = tmp_path / "saved.pth"
    state = small(row).state_dict()
    name = next(iter(dict(small(row).trunk.named_parameters())))
    wrong = {n: v for n, v in state.items() if n != f"trunk.{name}"} | {"extra": torch.ones(1)}
    torch.save({"state_dict": {f"module.{n}": v for n, v in wrong.items()}}, path)
    with pytest.raises(ValueError, match=r"1 unexpected: extra; 1 missing: trunk\.") as caught:
        small(row, weights=str(path))
    assert f"trunk.{name}" in str(caught.value)
    torch.save({**state, f"trunk.{name}": torch.ones(1)}, path)
    with pytest.raises(ValueError, match=r"of another shape: trunk\..*\(1,\) instead of"):
        small(row, weights=str(path))


@every_row
def test_without_its_file_a_checkpoint_says_where_it_was_looked_for(row, tmp_path, monkeypatch):
    for name in ("AUXSWEEP_WEIGHTS", "TORCH_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    for spec in row.weights:
        with pytest.raises(FileNotFoundError) as caught:
            models.build(row.name, heads={"classes": 2}, weights=spec.name)
        for told in (str(tmp_path / spec.file), spec.source, "weights: random"):
            assert told in str(caught.value)
    for spec in MODELS[row.name].weights:
        if spec.sha256:
            (tmp_path / spec.file).write_bytes(b"something else")
            with pytest.raises(ValueError, match="has the digest"):
                files.find((spec,), spec.name)
    gone = tmp_path / "gone.pth"
    with pytest.raises(FileNotFoundError, match=str(gone)):
        models.build(row.name, heads={"classes": 2}, weights=str(gone))


@every_row
def test_a_checkpoint_has_clips_that_its_model_takes(row, monkeypatch):
    small_models.needed(row)
    monkeypatch.setattr(models.catalogue, "MODELS", MODELS)
    row = MODELS[row.name]
    for spec in row.weights:
        clip = clip_of(row.name, weights=spec.name)
        assert clip == spec.clip
        assert not models.catalogue.refusals(row.name, clip, weights=spec.name)
        assert spec.source
        assert spec.licence
        renamed = models.catalogue.load_target(spec.rename)({"x": torch.ones(1)})
        assert all(torch.equal(v, torch.ones(1)) for v in renamed.values())


def test_weights_of_torchvision_go_round(tmp_path):
    """Names are those that torchvision saves, and so are numbers."""
    from torchvision.models.video import r3d_18

    theirs = r3d_18(weights=None).eval()
    path = tmp_path / "r3d_18.pth"
    torch.save(theirs.state_dict(), path)
    ours = models.build(
        "r3d_18", heads={"classes": 400}, frames=4, size_px=32, weights=str(path)
    ).eval()
    assert sum(p.numel() for p in ours.parameters()) == 33_371_472
    pixels = inputs(ours)["pixels"]
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (ours.clip.mean, ours.clip.std))
    with torch.inference_mode():
        expected = theirs(((pixels - mean) / std).transpose(1, 2))
        torch.testing.assert_close(ours.encode_video(pixels)["logits"], expected)
    # 10 classes: their head is left out, the trunk is theirs
    ten = models.build("r3d_18", heads={"classes": 10}, frames=4, size_px=32, weights=str(path))
    assert torch.equal(ten.trunk.stem[0].weight, theirs.stem[0].weight)


def test_random_weights_follow_the_published_rule():
    stem = models.build("r3d_18", heads={"classes": 2}, size_px=32).trunk.stem[0].weight
    fan_out = stem.shape[0] * stem[0, 0].numel()
    assert float(stem.std().detach()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_a_file_that_holds_more_than_weights_is_refused(tmp_path):
    path = tmp_path / "whole.pth"
    torch.save({"model": 3}, path)
    with pytest.raises(ValueError, match="no weights by name were found"):
        state_dicts.read(path)
    torch.save(argparse.Namespace(lr=1), path)
    with pytest.raises(ValueError, match="holds more than weights"):
        state_dicts.read(path)


def test_weights_by_safetensors(tmp_path):
    from safetensors.torch import save_file

    model = models.build("tiny", heads={"classes": 2}, seed=5)
    path = tmp_path / "tiny.safetensors"
    save_file({n: v.contiguous() for n, v in model.state_dict().items()}, path)
    again = models.build("tiny", heads={"classes": 2}, weights=str(path))
    assert equal(again.state_dict(), model.state_dict())


def test_the_digest_of_the_file_is_held_against_the_plan(tmp_path):
    path = tmp_path / "tiny.pth"
    torch.save(models.build("tiny", heads={"classes": 2}).state_dict(), path)
    pinned = files.pinned((), str(path))
    assert pinned.startswith(f"{path}#")
    models.build("tiny", heads={"classes": 2}, weights=pinned)
    torch.save(models.build("tiny", heads={"classes": 2}, seed=1).state_dict(), path)
    with pytest.raises(ValueError, match="was planned with"):
        models.build("tiny", heads={"classes": 2}, weights=pinned)
    assert files.pinned((), "random") == "random"


def test_a_file_is_pinned_by_its_absolute_path(tmp_path, monkeypatch):
    (tmp_path / "a#1.pth").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    pinned = files.pinned((), "a#1.pth")
    path, digest = files.split_digest(pinned)
    assert path == str(tmp_path / "a#1.pth")
    assert len(digest) == files.DIGITS
    assert files.pinned((), pinned) == pinned
    assert files.split_digest("a#1.pth") == ("a#1.pth", "")


FRAMEWISE = {"tiny": False, "tiny_frames": True, "mc3_18": False}


def test_a_framewise_model_is_one_by_what_it_can_do():
    found = {name: isinstance(small(MODELS[name]), models.Framewise) for name in FRAMEWISE}
    assert found == FRAMEWISE
    model = small(MODELS["tiny_frames"]).eval()
    pixels = inputs(model)["pixels"]
    frames = model.encode_frames(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
    assert equal(model.combine_frames(frames), model.encode_video(pixels))


def test_captions_for_a_model_that_reads_none_are_refused():
    with pytest.raises(ValueError, match="reads no captions"):
        models.build("r3d_18", heads={"classes": 2}, words=WORDS)
    model = small(MODELS["tiny"])
    keep = torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match="no tokens"):
        model.encode_video(inputs(model)["pixels"], keep=keep)


def test_sizes_say_what_is_allowed_and_what_is_near():
    sizes = models.catalogue.Sizes(least=32, multiple=32, most=224)
    assert [sizes.nearest(n) for n in (1, 100, 112, 113, 500)] == [32, 96, 96, 128, 224]
    assert str(sizes) == "a multiple of 32, at least 32, at most 224"
    assert str(dataclasses.replace(sizes, most=32)) == "32"
    assert str(models.catalogue.Sizes()) == "at least 1"
