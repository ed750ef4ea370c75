"""The search space: what is declared, what is refused, and what suggestions look like."""

import math
import re
import typing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import yaml

from losses.catalogue import LOSSES
from losses.combine.catalogue import COMBINERS
from losses.combine.meta import MetaOptimizer
from losses.knob_ranges import KnobRange
from sweep.cells.search.dimensions import dimensions
from sweep.cells.search.space import Space
from sweep.settings.search import SamplerName
from sweep.settings.section import ConfigError
from sweep.studies.load import dump_study, load_study, validate_study

MELTR = "/combiners={meltr: {}}"
SAMPLERS = typing.get_args(SamplerName)


def search(*overrides):
    return load_study("quickstart", overrides=["design.kind=search", *overrides])


def suggestions(study, count=40, seed=0):
    """(params, config) of random suggestions."""
    space, found = Space(study), []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        trial = source.ask()
        space.suggest(trial)
        found.append((dict(trial.params), space.resolve(trial.params, seed=1)))
        source.tell(trial, 0.0)
    return found


ROWS = [*LOSSES.values(), *COMBINERS.values()]

#: Numeric knobs that no search varies, and who sets them.
FIXED = {("classification", "label_smoothing"): "train.label_smoothing"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_numeric_knob_has_a_range_that_holds_its_default(row):
    assert set(row.ranges) <= set(row.knobs)
    for name, default in row.knobs.items():
        limits = row.ranges.get(name)
        if isinstance(default, (bool, str, tuple)) or (row.name, name) in FIXED:
            assert limits is None, name
        elif default is not None:
            assert limits is not None, name
            assert limits.low <= default <= limits.high, name
            assert isinstance(limits.low, int) == isinstance(default, int), name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_ranges_are_rising_and_logarithms_exist(row):
    for name, limits in row.ranges.items():
        assert limits.low < limits.high, name
        assert isinstance(limits.low, int) == isinstance(limits.high, int), name
        assert not limits.log or limits.low > 0, name


def test_a_knob_of_a_stranger_gets_no_range_of_another_loss(monkeypatch):
    row = replace(LOSSES["pixel"], knobs={"temperature": 400.0, "gamma": 1e5}, ranges={})
    monkeypatch.setattr("sweep.cells.search.dimensions.LOSSES", {**LOSSES, "pixel": row})
    monkeypatch.setattr("sweep.studies.checks.LOSSES", {**LOSSES, "pixel": row})
    space = "search.space={{losses.pixel.knobs.gamma: {}}}"
    with pytest.raises(ConfigError, match=r"knobs\.gamma: .*low and high, .*row of pixel.*ranges"):
        search(space.format("true"))
    (found,) = dimensions(search(space.format("{low: 1e4, high: 1e6}")))
    assert (found.low, found.high) == (1e4, 1e6)
    declared = replace(row, ranges={"gamma": KnobRange(1e4, 1e6, log=True)})
    monkeypatch.setattr("sweep.cells.search.dimensions.LOSSES", {**LOSSES, "pixel": declared})
    (found,) = dimensions(search(space.format("true")))
    assert (found.low, found.high, found.log) == (1e4, 1e6, True)


def test_the_meta_step_has_the_same_knobs_for_all_who_are_taught_by_it():
    taught = [row for row in COMBINERS.values() if row.meta]
    assert len(taught) == 3
    for name in MetaOptimizer.KNOBS:
        assert len({str(row.knobs[name]) for row in taught}) == (2 if name == "gamma" else 1), name


def test_a_dimension_exists_only_where_its_loss_and_combiner_are_on():
    study = search(
        "combiners={static: {}, meltr: {}, equal: {}}",
        "search.space={losses.infonce.knobs.temperature: {low: .03, high: .3, log: true}, "
        "losses.pixel.weight: {low: .5, high: 2}, combiners.meltr.gamma: true, "
        "train.lr: {low: 5e-4, high: 5e-3, log: true}, train.views.mask_frames: [.25, .5]}",
    )  # fmt: skip
    seen = set()
    for params, config in suggestions(study, 120):
        on, combiner = set(config.losses), params["combiner"]
        assert ("losses.infonce.knobs.temperature" in params) == ("infonce" in on)
        weighed = COMBINERS[combiner].uses_weights
        assert ("losses.pixel.weight" in params) == ("pixel" in on and weighed)
        assert ("w_consistency" in params) == ("consistency" in on and combiner == "static")
        assert "w_pixel" not in params
        assert ("combiners.meltr.gamma" in params) == (combiner == "meltr" and bool(on))
        assert 5e-4 <= config.train.lr <= 5e-3
        assert config.train.views.mask_frames in {0.25, 0.5}
        if "infonce" in on:
            value = config.losses["infonce"].knobs["temperature"]
            assert value == pytest.approx(params["losses.infonce.knobs.temperature"], rel=1e-5)
            assert 0.03 <= value <= 0.3
        if combiner == "meltr" and on:
            assert 0 <= config.combiner.knobs["gamma"] <= 10
        seen.add((combiner, "infonce" in on))
    assert len(seen) == 6
    assert study.train.lr == load_study("quickstart").train.lr  # the anchors keep the recipe


def test_whole_numbers_steps_and_choices_stay_what_they_are():
    study = search(
        "combiners={meltr: {}}",
        "search.space={combiners.meltr.interval: {low: 1, high: 9, step: 4}, "
        "combiners.meltr.slope: [any, positive], "
        "train.label_smoothing: {low: 0, high: .2, step: .1}}",
    )  # fmt: skip
    for _, config in suggestions(study):
        if config.losses:
            assert config.combiner.knobs["interval"] in {1, 5, 9}
            assert isinstance(config.combiner.knobs["interval"], int)
            assert config.combiner.knobs["slope"] in {"any", "positive"}
        assert any(math.isclose(config.train.label_smoothing, v) for v in (0, 0.1, 0.2))


def test_dots_and_nesting_say_the_same_and_the_resolved_study_round_trips():
    dotted = search("search.space={train.lr: [1e-3, 2e-3], losses.pixel.weight: true}")
    nested = search("search.space.train.lr=[1e-3, 2e-3]", "search.space.losses.pixel.weight=true")
    assert dotted == nested
    assert dimensions(dotted)[1].choices == (0.001, 0.002)
    assert validate_study(yaml.safe_load(dump_study(dotted)), where="again") == dotted


@pytest.mark.parametrize("most", [None, 2, 0])
def test_membership_by_size_reaches_every_allowed_subset(most):
    overrides = ["search.membership=size"] + (
        [f"search.max_losses={most}"] if most is not None else []
    )
    found = suggestions(search(*overrides), 300)
    subsets = {tuple(config.losses) for _, config in found}
    limit = 4 if most is None else most
    assert len(subsets) == sum(math.comb(4, k) for k in range(limit + 1))
    if limit == 4:  # every size is as likely, not every subset
        sizes = [len(config.losses) for _, config in found]
        assert min(sizes.count(k) for k in range(5)) > 35


def test_fixed_membership_keeps_every_loss():
    for params, config in suggestions(search("search.membership=fixed"), 5):
        assert len(config.losses) == 4
        assert not any(name.startswith("use_") for name in params)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["space={train.lrr: true}"], "did you mean 'lr'"),
        (["space={train.steps: [1, 2]}"], "the same in every trial"),
        (["space={train.lr: {low: 0, high: 1}}"], "search.space.train.lr: 0.0"),
        (["space={train.lr: true}"], "give low and high"),
        (["space={train.ema: [.9, 1.5]}"], "1.5"),
        (["space={losses.infonc.weight: true}"], "did you mean 'infonce'"),
        (["space={losses.infonce.knobs.temperatur: true}"], "did you mean 'temperature'"),
        (["space={losses.infonce.temperature: true}"], "losses.infonce.knobs.X"),
        (["space={losses.infonce.knobs.temperature: {low: 0, high: 1}}"], "allowed are 0.005"),
        (["space={losses.infonce.knobs.temperature: {low: 5, high: 1}}"], "given 5 to 1"),
        (["space={losses.infonce.knobs.temperature: [.1]}"], "two different choices"),
        (["space={combiners.meltr.gamma: true}"], "unknown combiner of this study"),
        ([MELTR, "space={combiners.meltr.slope: true}"], "list of choices"),
        ([MELTR, "space={combiners.meltr.interval: {low: 1, high: 2.5}}"], "whole numbers"),
        ([MELTR, "space={combiners.meltr.decoupled: [1, 0]}"], "bool expected"),
        (["/combiners={equal: {}}", "space={losses.pixel.weight: true}"], "uses weights"),
        (["space={optimizer.lr: true}"], "expected losses.NAME.weight"),
        (["objective=oood"], "did you mean 'ood'"),
        (["objective=[ood, ood]"], "each once"),
        (["constraints={famlies: {low: 2}}"], "did you mean 'families'"),
        (["constraints={clean: {}}"], "give low, high or both"),
        (["sampler=brute_force"], "search.weight_range"),
        (["sampler=tpee"], "search.sampler"),
        (["membership=fixed", "max_losses=2"], "keeps all 4 losses"),
        (["weight_range=[2, 1]"], "rising"),
    ],
)
def test_mistakes_are_refused_with_what_is_allowed(overrides, words):
    given = [o[1:] if o.startswith("/") else f"search.{o}" for o in overrides]
    with pytest.raises(ConfigError) as error:
        search(*given)
    assert words in str(error.value), str(error.value)


def test_size_is_for_few_losses():
    seven = "losses={caption: true, pixel: true, infonce: true, consistency: true, s2dtw: true, "
    with pytest.raises(ConfigError, match="up to 6"):
        search("search.membership=size", seven + "mil_nce: true, siglip: true}")


def test_cmaes_names_its_package_or_its_limits():
    with pytest.raises(ConfigError, match=r"pip install cmaes|numbers only"):
        search("search.sampler=cmaes")


def test_early_stopping_is_off_by_default_with_several_objectives():
    assert search().search.early_stopping is True
    assert search("search.objective=[clean, noise]").search.early_stopping is False
    assert search("search.objective=[clean]").search.objectives == ["clean"]


def test_a_search_keeps_clips_to_choose_by_and_says_so_where_it_cannot():
    found = search()
    assert found.data.validation_share == 0.25  # a tenth of 384 clips would be noise
    assert found.evaluate.on_validation == ["clean"]
    assert search("data.train_per_class=1000").data.validation_share == 0.1
    assert search("search.objective=noise").evaluate.on_validation == ["gaussian_noise/*"]
    both = search("search.constraints={noise: {low: 9}}").evaluate.on_validation
    assert both == ["clean", "gaussian_noise/*"]
    assert validate_study(yaml.safe_load(dump_study(found)), where="again") == found
    told = r"'ood' holds the shifts appearance, .* clips \(clean, noise, temporal\), or .*=test"
    with pytest.raises(ConfigError, match=told):
        search("search.objective=ood")
    with pytest.raises(ConfigError, match="'ood' holds the shifts"):
        search("search.constraints={ood: {low: 9}}")
    with pytest.raises(ConfigError, match=r"data\.validation_share is 0: give a share"):
        search("data.validation_share=0")
    tests = search("search.objective=ood", "search.objective_on=test")
    assert tests.evaluate.on_validation == []
    assert tests.data.validation_share == 0.25  # trials are stopped early by these
    none = search("search.objective_on=test", "search.early_stopping=false")
    assert none.data.validation_share == 0
    assert load_study("quickstart").data.validation_share == 0


def test_the_example_of_the_readme_is_a_valid_search():
    root = Path(__file__).resolve().parents[2] / "sweep"
    text = (root / "README.md").read_text()
    shown = re.search(r"## Searching.*?```yaml\n(.*?)```", text, re.DOTALL)[1]
    study = yaml.safe_load((root / "studies" / "quickstart.yaml").read_text())
    scale = study.pop("scales")["mini"]
    study |= {name: study.get(name, {}) | part for name, part in scale.items()}
    given = yaml.safe_load(shown)
    study |= {"evaluate": study["evaluate"] | given.pop("evaluate")} | given
    assert len(dimensions(validate_study(study, where="README"))) == 5
