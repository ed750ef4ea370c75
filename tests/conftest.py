"""A small real data set and trial settings, made once per session."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from sweep.studies.load import load_study
from sweep.training import angles

#: Enough to pass through every phase: a few clips, a few steps, a few conditions.
SMALL = (
    "data.train_per_class=4",
    "data.val_per_class=2",
    "data.labelled_per_class=2",
    "data.seed=11",
    "train.batch=6",
    "train.steps=6",
    "train.warmup=0",
    "train.log_every=2",
    "train.checkpoint_every=2",
    "evaluate.conditions={gaussian_noise: [3], jumbling: [5]}",
    "outcomes={clean: [clean], ood: [appearance, viewpoint, dynamics]}",
    "headline=[clean]",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As workers on a CPU have it: numbers depend on it, and a study without Ray sets its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def few_angles():
    """A trial of a few steps spends most of its time on the angles of its gradients: one batch."""
    before = angles.ANGLE_BATCHES
    angles.ANGLE_BATCHES = 1
    yield
    angles.ANGLE_BATCHES = before


@pytest.fixture(scope="session", autouse=True)
def signals():
    """As in a terminal: under nohup, processes of the tests would inherit an ignored SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """One cache for the session, away from the user's."""
    os.environ["AUXSWEEP_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def small():
    """Factory of small studies: ``small("train.steps=3", ...)``."""

    def make(*overrides: str):
        return load_study("quickstart", overrides=[*SMALL, *overrides])

    return make


@pytest.fixture(scope="session")
def token_head(tmp_path_factory):
    """A Ray head with a token: what only asks or submits shares it."""
    from tests.engine.ray_processes import head_with_token

    with head_with_token(tmp_path_factory.mktemp("head")) as head:
        yield head


@pytest.fixture
def undrawn(monkeypatch):
    """Figures of a report are made but not written: that takes most of its time."""
    from sweep.report import figures

    monkeypatch.setattr(figures, "save", lambda drawing, folder, name: ("<svg/>", []))
