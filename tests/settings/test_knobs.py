"""Every knob arrives where it is meant to, or is refused by name."""

from __future__ import annotations

import pytest
import torch

from losses.catalogue import LOSSES
from losses.combine.catalogue import COMBINERS, ignored_weights
from losses.combine.meltr import INITS, INPUTS, OUTPUTS, SIZES, SLOPES
from losses.combine.meta import AUTO, DATA, METHODS
from losses.combine.momentary import LEVELS
from losses.combine.torchjd import METHODS as TORCHJD_METHODS
from losses.combine.uncertainty import FACTORS
from models.catalogue import MODELS
from sweep.cells.resolve import cells, resolve
from sweep.settings.losses import CombinerSettings
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study
from sweep.training.assembly import build_combiner

ROWS = [*LOSSES.values(), *COMBINERS.values()]
WORDS = [
    pytest.param(row, knob, id=f"{row.name}.{knob}")
    for row in ROWS
    for knob, default in row.knobs.items()
    if isinstance(default, str)
]


def trial_of(combiner, **knobs):
    """A trial of one auxiliary loss under a combiner."""
    study = load_study("quickstart", overrides=["losses.pixel.weight=.2"])
    settings = CombinerSettings(name=combiner, knobs=knobs)
    return resolve(study, {"pixel": study.losses["pixel"]}, settings, label="x", seed=0)


@pytest.mark.parametrize(("row", "knob"), WORDS)
def test_every_knob_that_is_a_word_says_what_it_may_be(row, knob):
    assert row.knobs[knob] in row.choices[knob]
    assert set(row.choices) <= set(row.knobs)


def test_choices_are_those_of_the_code():
    assert COMBINERS["torchjd"].choices["method"] == tuple(TORCHJD_METHODS)
    assert COMBINERS["uncertainty"].choices["form"] == tuple(FACTORS)
    meltr = COMBINERS["meltr"].choices
    for knob, allowed in (
        ("output", OUTPUTS), ("input", INPUTS), ("size", SIZES), ("slope", SLOPES), ("init", INITS)
    ):  # fmt: skip
        assert meltr[knob] == tuple(allowed)
    for row in COMBINERS.values():
        if row.meta:
            assert row.choices["method"] == (AUTO, *METHODS)
            assert row.choices["data"] == DATA
        if "level" in row.knobs:
            assert row.choices["level"] == LEVELS


@pytest.mark.parametrize(("row", "knob"), WORDS)
def test_a_wrong_word_is_refused_where_a_study_is_read(row, knob):
    if getattr(row, "primary", False) or getattr(row, "package", ""):
        pytest.importorskip(getattr(row, "package", "") or "torch")
    given = row.choices[knob][-1] + "x"
    is_loss = row.name in LOSSES
    content = (
        f"losses={{{row.name}: {{knobs: {{{knob}: {given}}}}}}}"
        if is_loss
        else f"combiners={{{row.name}: {{{knob}: {given}}}}}"
    )
    with pytest.raises(ConfigError, match=knob) as caught:
        load_study("quickstart", overrides=[content])
    assert f"did you mean '{row.choices[knob][-1]}'" in str(caught.value)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_without_end_is_refused_by_its_key(row, value):
    knob = next((k for k, v in row.knobs.items() if type(v) in (int, float)), None)
    if knob is None or getattr(row, "primary", False):
        pytest.skip("no number to set")
    text = ".inf" if value == float("inf") else ".nan"
    where = f"losses.{row.name}.knobs.{knob}" if row.name in LOSSES else f"combiners.{row.name}"
    given = f"losses={{{row.name}: {{knobs: {{{knob}: {text}}}}}}}"
    if row.name in COMBINERS:
        given = f"combiners={{{row.name}: {{{knob}: {text}}}}}"
    with pytest.raises(ConfigError, match=where) as caught:
        load_study("quickstart", overrides=[given])
    assert "finite" in str(caught.value)


def test_true_is_no_number_and_one_no_truth():
    with pytest.raises(ConfigError, match=r"temperature: a number is expected"):
        load_study("quickstart", overrides=["losses.infonce.knobs.temperature=true"])
    with pytest.raises(ConfigError, match=r"dedupe: true or false is expected"):
        load_study("quickstart", overrides=["losses={siglip: {knobs: {dedupe: 1}}}"])


@pytest.mark.parametrize("method", TORCHJD_METHODS)
def test_the_method_of_torchjd_arrives(method):
    pytest.importorskip("torchjd")
    combiner, optimizer = build_combiner(
        trial_of("torchjd", method=method), ("classification", "pixel")
    )
    assert combiner.method == method
    assert type(combiner._weighting).__name__ == TORCHJD_METHODS[method]
    assert optimizer is None


ALTERNATIVES = {
    "initial": 0.3, "hidden": 6, "width": 24, "feedforward": 40, "betas": (0.5, 0.9),
    "dropout": 0.4, "gamma": 0.4, "c": 0.2,
}  # fmt: skip


def other(row, knob):
    """A value of a knob that is not its default."""
    default = row.knobs[knob]
    if knob in row.choices:
        return next(value for value in row.choices[knob] if value != default)
    if knob in ALTERNATIVES:
        return ALTERNATIVES[knob]
    if isinstance(default, bool):
        return not default
    limits = row.ranges[knob]
    return limits.high if default != limits.high else limits.low


def state(part):
    """All that a combiner or its optimiser is made of, in plain form."""
    if part is None:
        return None
    found = {k: v for k, v in vars(part).items() if type(v) in (int, float, bool, str, tuple)}
    if hasattr(part, "_optimizer"):
        group = {k: v for k, v in part._optimizer.param_groups[0].items() if k != "params"}
        return found, type(part._optimizer).__name__, group
    weights = {name: tensor.tolist() for name, tensor in part.state_dict().items()}
    plain = (int, float, bool, str)
    below = [
        (type(module).__name__, [(k, v) for k, v in vars(module).items() if type(v) in plain])
        for module in part.modules()
    ]
    helper = type(getattr(part, "_weighting", None)).__name__
    return found, weights, below, helper


COMBINER_KNOBS = [
    pytest.param(row, knob, id=f"{row.name}.{knob}")
    for row in COMBINERS.values()
    for knob in row.knobs
]


@pytest.mark.parametrize(("row", "knob"), COMBINER_KNOBS)
def test_every_knob_of_a_combiner_changes_it(row, knob):
    if row.package:
        pytest.importorskip(row.package)
    names = ("classification", "pixel")
    made = [
        build_combiner(trial_of(row.name, **knobs), names)
        for knobs in ({}, {knob: other(row, knob)})
    ]
    plain, changed = ([state(part) for part in parts] for parts in made)
    if plain == changed:  # what it does, then
        gram = torch.tensor([[1.0, -0.4], [-0.4, 2.0]], dtype=torch.float64)
        losses = torch.tensor([1.5, 0.2], dtype=torch.float64)
        one, two = (combiner.weigh(gram, losses) for combiner, _ in made)
        assert not torch.equal(one, two)


@pytest.mark.parametrize("name", COMBINERS)
def test_weight_zero_is_absent_whatever_combines(name):
    overrides = ["losses.pixel.weight=0", f"combiners={{{name}: {{}}}}"]
    if COMBINERS[name].package:
        pytest.importorskip(COMBINERS[name].package)
    study = load_study("quickstart", overrides=overrides)
    assert all("pixel" not in trial.losses for trial in cells(study))


def test_ignored_weights_are_named():
    assert ignored_weights(["equal", "static"], {"pixel": 0.2, "infonce": 1, "delta": 0}) == [
        "equal ignores weights: pixel 0.2 -> 1"
    ]
    assert ignored_weights(["equal"], {"pixel": None})  # its default is another one
    assert not ignored_weights(["static", "gone"], {"pixel": 0.2})


@pytest.mark.parametrize("name", MODELS)
def test_knobs_of_models_are_checked(name):
    given = f"model={{name: {name}, weights: random, knobs: {{frames: .inf}}}}"
    with pytest.raises(ConfigError, match=r"model\.(knobs|name: needs the package)"):
        load_study("quickstart", overrides=[given])
