"""A new model is one file and one row, and a checkpoint of it one more line: swept for real."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch

from models.catalogue import MODELS, TEXT_FEATURES, ModelSpec, Sizes
from models.clip_format import ClipFormat
from models.weights import WeightsSpec
from sweep.cells.resolve import cells
from sweep.engine.run import run_study
from sweep.records.files import read_records
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""Colours over time, a class token, a position table: small, but made like the published ones."""

import numpy as np
import torch
from torch import nn


class Colours(nn.Module):
    widths = {"frames": 16, "video": 16}

    def __init__(self, *, clip, depth=1):
        super().__init__()
        self.embed = nn.Linear(3 * 4 * 4, 16)
        self.position = nn.Parameter(torch.randn(clip.frames, 16))
        self.token = nn.Parameter(torch.zeros(16))
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(depth))

    def forward(self, pixels):
        cells = nn.functional.adaptive_avg_pool2d(pixels.flatten(0, 1), 4)
        frames = self.embed(cells.flatten(1)).unflatten(0, pixels.shape[:2]) + self.position
        for block in self.blocks:
            frames = frames + block(frames).tanh()
        return (frames,)

    def features(self, frames):
        return {"frames": frames, "video": frames.mean(1) + self.token}

    def layers(self):
        first = [*self.embed.parameters(), self.position, self.token]
        return [first, *(list(block.parameters()) for block in self.blocks)]


class Letters(nn.Module):
    widths = {"text_tokens": 8, "text_embed": 64}

    def __init__(self, *, words):
        super().__init__()
        self.embed = nn.Embedding(words.size, 8)
        self.joint = nn.Linear(8, 64)

    def forward(self, ids, mask):
        return (self.embed(ids) * mask[..., None],)

    def features(self, tokens):
        joint = nn.functional.normalize(self.joint(tokens.mean(1)), dim=-1)
        return {"text_tokens": tokens, "text_embed": joint}

    def layers(self):
        return [list(self.embed.parameters()), list(self.joint.parameters())]


class Alphabet:
    """Numbers of letters; the padding is not 0, and no number stands for what is hidden."""

    size, pad, mask, length = 257, 256, None, 24

    def encode(self, sentences):
        rows = np.full((len(sentences), self.length), self.pad)
        for row, text in zip(rows, sentences):
            known = list(text.encode())[: self.length]
            row[: len(known)] = known
        return rows, rows != self.pad


def rename(state):
    """Published files say `encoder.` and `head.`."""
    beginnings = {"encoder.": "trunk.", "head.": "classifier."}
    return {
        beginnings[old] + name.removeprefix(old): value
        for name, value in state.items()
        for old in beginnings
        if name.startswith(old)
    }
'''


def row(checkpoint=b""):
    clip = ClipFormat(frames=4, size_px=48, mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
    return ModelSpec(
        name="colours",
        provides=frozenset({"frames", "video"}),
        clip=clip,
        sizes_px=Sizes(least=16, multiple=4),
        parameters="few",
        knobs={"frames": 4, "depth": 1},
        weights=(
            WeightsSpec(
                name="published",
                file="colours.pth",
                source="https://example.org/colours.pth",
                sha256=hashlib.sha256(checkpoint).hexdigest(),
                clip=clip,
                licence="MIT",
                rename="one_model:rename",
            ),
        ),
        source="this test",
        target="one_model:Colours",
        description="colours over time",
    )


@pytest.fixture
def published(write, add_row, tmp_path, monkeypatch):
    """One file, one row, and a file of weights of 400 classes; gives the latter's path."""
    write("one_model", FILE)
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("AUXSWEEP_WEIGHTS", str(folder))
    from one_model import Colours

    trunk = Colours(clip=row().clip)
    state = {f"encoder.{name}": torch.full_like(v, 0.01) for name, v in trunk.state_dict().items()}
    state |= {"head.weight": torch.ones(400, 16), "head.bias": torch.ones(400)}
    torch.save({"state_dict": state, "epoch": 7}, folder / "colours.pth")
    add_row("MODELS", MODELS, row((folder / "colours.pth").read_bytes()))
    return folder / "colours.pth"


@pytest.fixture
def study(study_file):
    def load(*overrides):
        path = study_file(losses="{pixel: {}}")
        return load_study(path, overrides=["model.name=colours", *overrides])

    return load


def test_a_model_of_one_file_and_its_checkpoint_are_swept(published, study, tmp_path):
    found = {}
    for weights in ("random", "published"):
        out = tmp_path / weights
        summary = run_study(study(f"model.weights={weights}"), out=out, engine="local")
        assert (summary.code, summary.done, summary.failed) == (0, 2, 0)
        found[weights] = {record.label: record for record in read_records(out)}
    drawn, loaded = (found[name]["all"] for name in ("random", "published"))
    assert drawn.final["cross_entropy"] != loaded.final["cross_entropy"]
    assert drawn.key != loaded.key
    # the clip is the model's: 48 px, which the study does not say
    assert loaded.config["data"]["size_px"] == 48
    digest = hashlib.sha256(published.read_bytes()).hexdigest()[:16]
    assert loaded.config["model"]["weights"] == f"published#{digest}"


def test_what_is_loaded_is_in_the_key_and_random_weights_are_asked_for(published, study, tmp_path):
    keys = {name: cells(study(f"model.weights={name}"))[0].key for name in ("random", "published")}
    plain = cells(study())[0]  # nobody named weights: the first that are published
    assert plain.key == keys["published"] != keys["random"]
    copy = tmp_path / "colours.pth"  # the same file elsewhere
    copy.write_bytes(published.read_bytes())
    assert cells(study(f"model.weights={copy}"))[0].key == keys["published"]
    torch.save({"encoder.token": torch.ones(16)}, copy)
    assert cells(study(f"model.weights={copy}"))[0].key not in keys.values()


def test_mistakes_are_told_when_the_study_is_read(published, study):
    for override, message in {
        "model.weights=publishd": "did you mean 'published'",
        "data.size_px=50": r"data\.size_px: 50 given; .* a multiple of 4, .*nearest: 48",
        "model.knobs.frames=0": r"model\.knobs\.frames: 0 given; .* at least 1 frames per clip",
        "model.knobs.dept=2": "unknown knob 'dept'; did you mean 'depth'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            study(override)
    published.unlink()
    with pytest.raises(ConfigError, match=r"looked for .*colours\.pth.*from https://example"):
        study("model.weights=published")


def test_a_model_may_read_captions_by_numbers_of_its_own(write, add_row, study_file, tmp_path):
    write("one_model", FILE)
    speaks = {"text": "one_model:Letters", "tokenizer": "one_model:Alphabet"}
    provides = frozenset({"frames", "video"}) | TEXT_FEATURES
    add_row("MODELS", MODELS, dataclasses.replace(row(), provides=provides, weights=(), **speaks))
    losses = "{infonce: {}, masked_text: {}}"
    given = ["model.name=colours", "design.kind=aoi"]
    study = load_study(study_file(losses=losses), overrides=given)
    summary = run_study(study, out=tmp_path / "s", engine="local")
    assert (summary.done, summary.failed) == (2, 2)
    done = {record.label for record in read_records(tmp_path / "s") if record.status == "done"}
    assert "infonce" in " ".join(done)
    assert any("no number for a hidden word" in why for why in summary.failures.values())
