"""A network of torchvision in a trial: drawn, and from a file of its own weights."""

import pytest
import torch

from sweep.cells.resolve import cells
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study
from sweep.trial import run_trial

SMALL = (
    "model.name=r3d_18", "model.weights=random", "model.knobs.frames=4",
    "data.size_px=32", "data.seed=31",
    "data.train_per_class=2", "data.val_per_class=1", "data.labelled_per_class=1",
    "data.workers=1", "train.steps=2", "train.batch=4", "train.log_every=1",
    "evaluate.conditions={gaussian_noise: [3]}", "evaluate.shifts=[]", "losses.infonce=null",
    "evaluate.temporal_checks=false", "outcomes={clean: [clean]}", "headline=[clean]",
)  # fmt: skip


def study(*overrides):
    return load_study("quickstart", overrides=(*SMALL, *overrides))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Weights in the form in which torchvision publishes them: 400 classes."""
    from torchvision.models.video import r3d_18

    path = tmp_path_factory.mktemp("weights") / "r3d_18.pth"
    torch.save(r3d_18(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize("combiner", ["static", "meltr"])
def test_it_is_trained_and_tested_with_all_kinds_of_losses(combiner, published, tmp_path):
    weights = "random" if combiner == "static" else published
    chosen = study(f"model.weights={weights}", f"combiners={{{combiner}: {{}}}}")
    config = next(cell for cell in cells(chosen) if cell.losses)
    assert {"pixel", "consistency", "frame_difference"} <= set(config.losses)
    record = run_trial(config, scratch=tmp_path, reraise=True).record
    assert record.status == "done"
    assert record.final["parameters"] == 33_371_472 - 513 * (400 - 8)
    assert [score.condition for score in record.scores] == ["clean", "gaussian_noise/3"]


def test_a_loss_that_needs_captions_is_refused_for_it():
    with pytest.raises(ConfigError, match="model 'r3d_18' does not provide"):
        study("losses.infonce={}")


def test_clips_are_as_large_as_the_model_unless_the_study_says_otherwise():
    without = [text for text in SMALL if not text.startswith("data.size_px")]
    assert load_study("quickstart", overrides=without).data.size_px == 112
    assert load_study("quickstart").data.size_px == 64
    assert load_study("quickstart", overrides=["data.size_px=null"]).data.size_px == 64
