"""A loss or a model that cannot be right is named where a training starts."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import pytest
import torch
from torch import nn

import models
from losses import catalogue, construction, views
from losses.catalogue import LOSSES, index_by_name
from sweep.settings.losses import TrialLoss
from sweep.settings.section import ConfigError
from sweep.studies import checks
from sweep.training import learner as module
from sweep.training.learner import Learner


def vector(*, frames):
    return frames.mean((1, 2))


def detached(*, frames):
    return frames.detach().mean()


def through_numbers(*, frames):
    return frames.new_tensor(float(frames.detach().mean()))


def good(*, frames):
    return frames.square().mean()


def with_loss(monkeypatch, function, needs=("frames",)):
    """One more row, in every place that reads the catalogue."""
    row = dataclasses.replace(
        LOSSES["sigreg"],
        name="mine",
        needs=frozenset(needs),
        knobs=MappingProxyType({}),
        ranges=MappingProxyType({}),
        target=f"{__name__}:{function.__name__}",
    )
    rows = index_by_name([*LOSSES.values(), row])
    for place in (catalogue, construction, views, module, checks):
        monkeypatch.setattr(place, "LOSSES", rows)


def a_learner(model, **losses):
    return Learner(model, losses, seed=0, label_smoothing=0.0, title="some_model")


def tiny():
    return models.build("tiny", heads={"classes": 3}, seed=0, size_px=32)


def batch():
    pixels = torch.rand(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return {"pixels": pixels, "pixels_b": pixels.flip(1), "labels": torch.tensor([0, 1])}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (vector, r"loss mine: one number is expected, .* got shape \(2,\)"),
        (detached, r"loss mine: its value does not depend on the model"),
        (through_numbers, r"loss mine: its value does not depend on the model.*frames"),
    ],
)
def test_a_wrong_loss_is_named(monkeypatch, function, message):
    with_loss(monkeypatch, function)
    with pytest.raises(ValueError, match=message):
        a_learner(tiny(), mine=TrialLoss(weight=1.0))(batch())


def test_a_right_loss_is_checked_once(monkeypatch):
    with_loss(monkeypatch, good)
    made = a_learner(tiny(), mine=TrialLoss(weight=1.0))
    assert made(batch()).shape == (2,)
    monkeypatch.setattr(module, "_check_value", pytest.fail)
    assert made(batch()).shape == (2,)


def test_a_feature_that_is_not_there_is_named_with_the_nearest(monkeypatch):
    with_loss(monkeypatch, good, needs=("pixel",))
    with pytest.raises(ValueError, match="loss mine: no feature 'pixel'; did you mean 'pixels'"):
        a_learner(tiny(), mine=TrialLoss(weight=1.0))(batch())
    with pytest.raises(ConfigError, match=r"'pixel'.*did you mean 'pixels'"):
        checks.check_needs(["mine"], "tiny", "x")


class Wrapped(nn.Module):
    """The tiny model with a fault."""

    def __init__(self, *, moves=False, shorter=False):
        super().__init__()
        self.inner = tiny()
        self.clip, self.tokenizer = self.inner.clip, self.inner.tokenizer
        self.widths, self.shared = self.inner.widths, ()
        self.moves, self.shorter = moves, shorter
        self.register_buffer("mean", torch.zeros(()))

    def encode_video(self, pixels, keep=None):
        made = self.inner.encode_video(pixels)
        if self.moves:
            self.mean.add_(pixels.mean())
        if self.shorter:
            made["frames"] = made["frames"][:, ::2]
        return made


#: Auxiliary losses whose cells read one view, and two.
VIEWS = [{}, {"consistency": TrialLoss(weight=1.0)}]


@pytest.mark.parametrize("auxiliary", VIEWS)
def test_a_model_that_moves_its_statistics_where_they_are_frozen_is_refused(auxiliary):
    made = a_learner(Wrapped(moves=True), **auxiliary)
    with pytest.raises(ValueError, match="model some_model: its buffers moved although"):
        made(batch())
    a_learner(Wrapped(), **auxiliary)(batch())


class Frozen(Wrapped):
    """Its batch normalisation stays in evaluation mode, as of a backbone that is not trained."""

    def train(self, mode=True):
        super().train(mode)
        for layer in self.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
        return self


@pytest.mark.parametrize("auxiliary", VIEWS)
def test_a_model_that_ignores_the_statistics_of_the_batch_is_refused(auxiliary):
    made = a_learner(Frozen(), **auxiliary).train()
    with pytest.raises(ValueError, match=r"model some_model: \d+ of \d+ .* ignore the statistics"):
        made(batch())


@pytest.mark.parametrize("auxiliary", VIEWS)
def test_a_model_without_running_statistics_is_refused(auxiliary):
    model = Wrapped()
    norm = next(m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    with pytest.raises(ValueError, match=r"some_model: 1 of \d+ .* keep no running statistics"):
        a_learner(model, **auxiliary)(batch())


class Dropping(Wrapped):
    """Draws random numbers in every forward, and counts them."""

    calls = 0

    def encode_video(self, pixels, keep=None):
        self.calls += 1
        return super().encode_video(nn.functional.dropout(pixels, training=self.training))


def test_the_look_at_a_model_draws_no_numbers_and_comes_once():
    values, states = [], []
    for looks in (True, False):
        made = a_learner(Dropping())
        made._is_checked = not looks
        torch.manual_seed(5)
        values.append(made(batch()))
        states.append([buffer.clone() for buffer in made.model.buffers()])
        made(batch())
        assert made.model.calls == 2 + looks
    assert torch.equal(*values)
    assert all(torch.equal(one, two) for one, two in zip(*states, strict=True))


def test_a_model_with_other_frames_than_its_clip_is_refused():
    with pytest.raises(ValueError, match="model some_model: the feature 'frames' has length 4"):
        a_learner(Wrapped(shorter=True))(batch())
