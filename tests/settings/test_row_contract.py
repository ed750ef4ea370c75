"""Every knob of every row of models, perturbations and designs acts, or is refused by `plan`.

Losses: ``tests/losses/test_loss_contract.py``; combiners: ``test_knobs.py`` here; data sets:
``tests/data/test_reader_contract.py``. All loop over the catalogues: a new row is asked, too.
"""

from __future__ import annotations

import itertools

import pytest
import torch

import models
from models.catalogue import MODELS, clip_of
from models.names import nearest
from perturb import LADDERS, PERTURBATIONS
from perturb.apply import unavailable
from perturb.draws import draws_for
from sweep.cells.designs.catalogue import DESIGNS, OF_EVERY_KIND
from sweep.cells.designs.diverse import MEASURES
from sweep.cells.resolve import loss_sets
from sweep.run import main
from sweep.settings.design import DesignSettings
from sweep.settings.section import ConfigError
from sweep.studies.checks import check_idle
from sweep.studies.load import load_study
from tests import small_models

# ------------------------------------------------------------------------------------------ models

MODEL_KNOBS = [
    pytest.param(row, knob, id=f"{row.name}.{knob}")
    for row in MODELS.values()
    for knob in row.knobs
]


def others_of(row, knob):
    """Values that are not the default: of a word all, of a number those around it."""
    default = row.knobs[knob]
    if knob in row.choices:
        return [value for value in row.choices[knob] if value != default]
    if isinstance(default, bool):
        return [not default]
    assert isinstance(default, (int, float)), "a knob that is a word says what it may be: choices"
    return [2 * default, default / 2, default + 1, 0, -1, 10**6]


def built(name, knobs):
    """What a model is made of: its settings and parameters."""
    model = models.build(name, heads={"classes": 2}, seed=0, **knobs)
    plain = [
        [(k, v) for k, v in vars(module).items() if type(v) in (int, float, bool, str, tuple)]
        for module in model.modules()
    ]
    state = {key: (tensor.shape, tensor.sum().item()) for key, tensor in model.state_dict().items()}
    return plain, state


@pytest.mark.parametrize(("row", "knob"), MODEL_KNOBS)
def test_every_knob_of_a_model_changes_it_or_is_refused(row, knob, monkeypatch):
    small_models.needed(row)
    accepted, told = [], []
    # some have one number of frames alone, unless another knob lets them take more
    more = "".join(f", {other}: true" for other in row.relaxed if other != knob)
    tried = [(value, with_it) for with_it in ("", more) for value in others_of(row, knob)]
    for value, with_it in tried:
        knobs = f"{{{knob}: {value}{with_it}}}"
        given = f"model={{name: {row.name}, weights: random, knobs: {knobs}}}"
        primary = [f"losses.{name}=null" for name in ("consistency", "infonce", "frame_difference")]
        try:
            load_study("quickstart", overrides=[given, *primary])
            accepted.append(value)
        except ConfigError as error:
            told.append(str(error))
    assert all(f"model.knobs.{knob}" in text for text in told)
    assert all("takes" in text or "allowed" in text for text in told)
    assert accepted, "no value but the default"
    if knob == "frames":  # that of the clip, which all that feeds and tests the model asks
        assert clip_of(row.name, frames=accepted[0]) != clip_of(row.name)
    else:
        if knob in small_models.ROWS[row.name].knobs:
            monkeypatch.setattr(models.catalogue, "MODELS", small_models.ROWS)
        assert built(row.name, {knob: accepted[0]}) != built(row.name, {})


@pytest.mark.parametrize("row", MODELS.values(), ids=lambda row: row.name)
def test_a_knob_that_a_model_lacks_is_refused(row):
    small_models.needed(row)
    given = f"model={{name: {row.name}, weights: random, knobs: {{framez: 8}}}}"
    with pytest.raises(ConfigError, match=r"model\.knobs: unknown knob 'framez'") as caught:
        load_study("quickstart", overrides=[given])
    assert nearest("framez", row.knobs) in str(caught.value)
    for knob, allowed in row.choices.items():
        assert row.knobs[knob] in allowed


# ----------------------------------------------------------------------------------- perturbations

PARAMETERS = [
    pytest.param(row, parameter, id=f"{row.name}.{parameter}")
    for row in PERTURBATIONS.values()
    if not row.missing
    for parameter in row.parameters
]
#: Of a clip that is made of large and of small things, as filters want it.
LENGTH, SIDE = 12, 48


@pytest.fixture(scope="module")
def clip():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, LENGTH, 3, 6, 6, generator=generator)
    fine = torch.rand(1, LENGTH, 3, SIDE, SIDE, generator=generator)
    large = torch.nn.functional.interpolate(coarse[0], size=(SIDE, SIDE), mode="bilinear")
    return ((0.7 * large + 0.3 * fine[0]) * 255).to(torch.uint8)[None]


def frames_of(row, arguments, clip):
    """What the function of a row makes of a clip: an order of frames, or pixels."""
    function, draw = row.load(), draws_for(row.name, 1, "c", 0)
    if row.temporal:
        order = [] if row.deterministic else [draw.order()]
        return torch.tensor(function(LENGTH, *order, **arguments))
    return function(clip, *([] if row.deterministic else [[draw]]), **arguments)


@pytest.mark.parametrize(("row", "parameter"), PARAMETERS)
def test_every_number_of_a_level_changes_frames(row, parameter, clip):
    """From some level of some ladder, a value of another level or a doubled one shows."""
    if reason := unavailable(row.name):
        pytest.skip(reason)
    levels = {
        tuple(row.arguments(s, ladder, short_side_px=SIDE, frames=LENGTH).items())
        for ladder in LADDERS
        for s in row.severities
    }
    values = {dict(level)[parameter] for level in levels}
    tried = 0
    for level in sorted(levels):
        here = dict(level)
        plain = frames_of(row, here, clip)
        for value in (*sorted(values - {here[parameter]}, reverse=True), 2 * here[parameter]):
            tried += 1
            changed = frames_of(row, {**here, parameter: value}, clip)
            if value != here[parameter] and not torch.equal(plain, changed):
                return
    pytest.fail(f"none of {tried} changes did anything")


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_wrong_severity_or_ladder_is_refused(name):
    given = f"evaluate.conditions={{{name}: [6]}}"
    with pytest.raises(ConfigError, match=rf"{name}: severities are 1"):
        load_study("quickstart", overrides=[given])
    with pytest.raises(ConfigError, match=r"unknown severity table 'smal'.*did you mean 'small'"):
        load_study("quickstart", overrides=["evaluate.ladder=smal"])


# ----------------------------------------------------------------------------------------- designs

SETTINGS = [name for name in DesignSettings.model_fields if name not in OF_EVERY_KIND]
KINDS = [pytest.param(row, name, id=f"{row.name}.{name}") for row in DESIGNS.values()
         for name in SETTINGS]  # fmt: skip


def is_valid(name, value):
    try:
        return bool(DesignSettings(**{name: value}))
    except ValueError:  # its own type refuses it
        return False


def other_settings(name):
    """Values of a setting of designs that are not its default."""
    field = DesignSettings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    if name == "measure":
        return [value for value in MEASURES if value != default]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [n for n in (default + 1, default - 1, 2 * default) if is_valid(name, n)]
    assert default is None, "say here what the new setting may be"
    return [[0, 2], [1, 3]]


@pytest.fixture(scope="module")
def by_size():
    """Studies of four and of seven losses: a kind takes one of them or both."""
    more = "losses={delta: {}, frame_order: {}, kinematic: {}}"
    return [load_study("quickstart"), load_study("quickstart", overrides=[more])]


def sets_with(study, **settings):
    changed = study.model_copy(update={"design": DesignSettings(**settings)})
    check_idle(changed)
    return list(loss_sets(changed).items())


@pytest.mark.parametrize(("row", "name"), KINDS)
def test_every_setting_of_a_design_changes_its_cells_or_is_refused(row, name, by_size):
    changed, refused = False, []
    for study, value in itertools.product(by_size, other_settings(name)):
        try:
            plain = sets_with(study, kind=row.name)
        except ConfigError:  # so many losses, or so few, do not fit this kind
            continue
        try:
            changed |= sets_with(study, kind=row.name, **{name: value}) != plain
        except ValueError as error:
            refused.append(str(error))
    assert changed == (name in row.reads)
    if not changed:
        assert refused
        assert all(f"design.{name}: " in text and row.name in text for text in refused)


def test_rows_read_settings_that_there_are():
    for row in DESIGNS.values():
        assert set(row.reads) <= set(SETTINGS)


def test_plan_ends_with_two_and_says_which_kinds_read_it(capsys):
    assert main(["plan", "quickstart", "design.size=4"]) == 2
    told = capsys.readouterr().err
    assert "design.size: 4 given, but design.kind 'loo' does not read it" in told
    assert "kinds that read size: diversity" in told


def test_another_kind_leaves_the_settings_of_the_former_one():
    former = ["design={kind: count, counts: [0, 2], subsets_per_count: 4, seed: 2}"]
    study = load_study("quickstart", overrides=[*former, "design.kind=loo"])
    assert study.design == DesignSettings(kind="loo")
    check_idle(study)
    kept = load_study("quickstart", overrides=[*former, "design.kind=shapley"]).design
    assert kept == DesignSettings(kind="shapley", seed=2)
    named = load_study("quickstart", overrides=[*former, "design={kind: loo, seed: 5}"])
    with pytest.raises(ConfigError, match=r"design\.seed: 5 given"):
        check_idle(named)


def test_the_frames_of_a_clip_reach_the_model():
    made = models.build("tiny", heads={"classes": 2}, seed=0, size_px=32, frames=4)
    assert made.clip.frames == 4
    assert made.encode_video(torch.rand(1, 4, 3, 32, 32))["frames"].shape[1] == 4
