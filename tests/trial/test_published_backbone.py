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


def test_it_is_trained_and_tested_with_all_kinds_of_losses(published, tmp_path):
    chosen = study(f"model.weights={published}", "combiners={meltr: {}}")
    config = next(cell for cell in cells(chosen) if cell.losses)
    assert {"pixel", "consistency", "frame_difference"} <= set(config.losses)
    record = run_trial(config, scratch=tmp_path, reraise=True).record
    assert record.status == "done"
    assert record.final["parameters"] == 33_371_472 - 513 * (400 - 8)
    assert [score.condition for score in record.scores] == ["clean", "gaussian_noise/3"]


@pytest.fixture
def folder(tmp_path):
    """A folder in the form of transformers, of another number of classes."""
    transformers = pytest.importorskip("transformers")
    kind = transformers.VideoMAEForVideoClassification
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    clip = {"image_size": 32, "num_frames": 4, "patch_size": 16}
    config = kind.config_class(**sizes, **clip, intermediate_size=32, num_labels=7)
    kind(config).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def test_the_network_of_a_folder_is_tuned_by_meta_steps(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    few = [text for text in SMALL if not text.startswith(("model.", "data.size_px"))]
    chosen = load_study(
        "quickstart", overrides=(*few, "model.name=hf:net", "combiners={meltr: {}}")
    )
    assert chosen.model.name == f"hf:{folder}"
    assert (chosen.model.weights, chosen.data.size_px) == ("folder", 32)
    config = next(cell for cell in cells(chosen) if cell.losses)
    record = run_trial(config, scratch=tmp_path, reraise=True).record
    assert record.status == "done"
    # drawn in the sizes of the folder, which the key has, too
    drawn = load_study("quickstart", overrides=(*few, "model.name=hf:net", "model.weights=random"))
    keys = [cell.key for cell in cells(drawn)]
    assert all(cell.model.weights.startswith("random#") for cell in cells(drawn))
    config_file = folder / "config.json"
    text = config_file.read_text()
    config_file.write_text(text.replace('"intermediate_size": 32', '"intermediate_size": 48'))
    assert not set(keys) & {cell.key for cell in cells(drawn)}
    config_file.write_text(text)
    again = run_trial(cells(drawn)[0], scratch=tmp_path / "drawn", reraise=True).record
    assert again.status == "done"
    # the same folder elsewhere is the same cell; another network is another one
    moved = folder.rename(tmp_path / "moved")
    name = f"model.name=hf:{moved}"
    again = load_study("quickstart", overrides=(*few, name, "combiners={meltr: {}}"))
    assert config.key in {cell.key for cell in cells(again)}
    (moved / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.1, 0.1]}')
    assert config.key not in {cell.key for cell in cells(again)}


def test_a_loss_that_needs_captions_is_refused_for_it():
    with pytest.raises(ConfigError, match="model 'r3d_18' does not provide"):
        study("losses.infonce={}")


def test_clips_are_as_large_as_the_model_unless_the_study_says_otherwise():
    without = [text for text in SMALL if not text.startswith("data.size_px")]
    assert load_study("quickstart", overrides=without).data.size_px == 112
    assert load_study("quickstart").data.size_px == 64
    assert load_study("quickstart", overrides=["data.size_px=null"]).data.size_px == 64
