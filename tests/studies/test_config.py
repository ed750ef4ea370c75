"""Studies: what is refused, with which words, and what a resolved study is."""

from __future__ import annotations

import pytest
import yaml

from losses.catalogue import LOSSES
from sweep.cells.resolve import cells, resolve
from sweep.settings.losses import CombinerSettings, LossSettings
from sweep.settings.section import ConfigError, difference
from sweep.settings.study import StudyConfig
from sweep.studies.checks import check_needs
from sweep.studies.files import STUDIES_DIR, study_names
from sweep.studies.load import (
    data_settings_from,
    dump_study,
    load_study,
    validate_study,
)


def scales_of(name):
    """Scales of a built-in study."""
    return list(yaml.safe_load((STUDIES_DIR / f"{name}.yaml").read_text())["scales"])


@pytest.mark.parametrize("name", study_names())
def test_every_built_in_study_is_valid_and_round_trips(name):
    study = load_study(name)
    again = validate_study(yaml.safe_load(dump_study(study)), where="again")
    assert again == study
    assert cells(study)
    assert all(len(text) for text in (study.title, study.question))


def test_resolved_study_is_a_valid_file(tmp_path):
    study = load_study("quickstart", overrides=["losses.pixel.weight=1", "train.steps=7"])
    path = tmp_path / "sweep.yaml"
    path.write_text(dump_study(study))
    again = load_study(str(path))
    assert again == study
    assert again.losses["pixel"].weight == 1
    assert again.train.steps == 7


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trian.steps=3", ["trian", "did you mean 'train'"]),
        ("train.stepz=3", ["train.stepz", "did you mean 'steps'"]),
        ("train.steps=0", ["train.steps", "greater than or equal to 1", "given: 0"]),
        ("train.steps=many", ["train.steps", "many"]),
        ("losses.pixle.weight=1", ["unknown loss 'pixle'", "did you mean 'pixel'"]),
        ("losses.pixel.wieght=1", ["losses.pixel.wieght", "did you mean 'weight'"]),
        ("losses.infonce.knobs.temprature=1", ["unknown knob", "did you mean 'temperature'"]),
        ("losses.pixel.weight=-1", ["losses.pixel.weight", "-1"]),
        ("combiners={meltrr: {}}", ["unknown combiner 'meltrr'", "did you mean 'meltr'"]),
        ("model.name=tyni", ["unknown model", "did you mean 'tiny'"]),
        ("data.dataset=motes-ucff", ["unknown data set", "did you mean 'motes-ucf'"]),
        ("data.dataset=ssv2", ["data.root", "not embedded"]),
        ("data.dataset=motes-ucf", ["infonce", "need captions"]),
        ("data.dataset=motes-vtt", ["needs classes", "primary=infonce"]),
        ("evaluate.conditions={gausian_noise: [1]}", ["did you mean 'gaussian_noise'"]),
        ("evaluate.conditions={jpeg: [6]}", ["severities are 1, 2, 3, 4, 5", "6"]),
        ("evaluate.profile=quik", ["unknown profile", "did you mean 'quick'"]),
        ("design.kind=lou", ["design.kind", "loo"]),
        ("headline=[cleen]", ["unknown outcome 'cleen'", "did you mean 'clean'"]),
        ("seeds=[1, 1]", ["each once"]),
        ("seeds=0", ["at least one"]),
        ("losses=[pixel]", ["losses: Input should be a valid dictionary"]),
        ("outcomes=[clean]", ["outcomes: Input should be a valid dictionary"]),
        ("headline=[[clean]]", ["headline.0: Input should be a valid string"]),
        ("nonsense", ["expected key=value"]),
        ("model.knobs.framez=3", ["unknown knob 'framez'", "did you mean 'frames'"]),
    ],
)
def test_mistakes_are_explained(override, words):
    with pytest.raises(ConfigError) as caught:
        load_study("quickstart", overrides=[override])
    for word in words:
        assert word in str(caught.value)


def test_unknown_study_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        load_study("quikstart")
    with pytest.raises(ConfigError, match="no such study file"):
        load_study("missing/file.yaml")
    with pytest.raises(ConfigError, match="no scale 'huge'"):
        load_study("quickstart", scale="huge")


def test_broken_yaml_is_one_message(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: [unclosed")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_study(str(path))
    path.write_text("- a list")
    with pytest.raises(ConfigError, match="mapping"):
        load_study(str(path))


def test_a_loss_whose_feature_the_model_lacks_is_refused(monkeypatch):
    from dataclasses import replace

    from models.catalogue import MODELS
    from sweep.studies import checks

    silent = replace(MODELS["tiny"], name="silent", provides=frozenset({"frames", "video"}))
    monkeypatch.setattr(checks, "MODELS", {**MODELS, "silent": silent})
    with pytest.raises(ConfigError) as caught:
        check_needs(["infonce"], "silent", "mine.yaml")
    assert "infonce" in str(caught.value)
    assert "models that do: tiny" in str(caught.value)


def test_overrides_merge_and_remove():
    study = load_study("quickstart", overrides=["losses.pixel=null", "combiners={meltr: {}}"])
    assert "pixel" not in study.losses
    assert list(study.combiners) == ["meltr"]
    study = load_study("quickstart", overrides=["train.lr=1e-3"])
    assert study.train.lr == 1e-3


@pytest.mark.parametrize(
    ("overrides", "outcomes", "headline"),
    [
        ([], ["clean", "ood", "noise", "temporal"], ["noise", "clean", "ood", "temporal"]),
        (["outcomes={only: [clean]}"], ["only"], ["only"]),
        (["outcomes={temporal: ['jumbling/*'], clean: [clean]}"], ["temporal", "clean"],
         ["clean", "temporal"]),
        (["outcomes={only: [clean], more: [ood]}", "headline=[more]"], ["only", "more"], ["more"]),
        (["headline=[only]", "outcomes={only: [clean], more: [ood]}"], ["only", "more"], ["only"]),
        (["outcomes.late=['freezing/*']"], ["clean", "ood", "noise", "temporal", "late"],
         ["noise", "clean", "ood", "temporal"]),
        (["outcomes={only: [clean]}", "outcomes.late=[clean]"], ["only", "late"], ["only"]),
    ],
)  # fmt: skip
def test_outcomes_given_whole_replace_and_a_dotted_one_is_added(overrides, outcomes, headline):
    study = load_study("quickstart", overrides=overrides)
    assert list(study.outcomes) == outcomes
    assert study.headline == headline


def test_a_scale_replaces_outcomes_as_an_override_does(tmp_path):
    path = tmp_path / "mine.yaml"
    content = yaml.safe_load(dump_study(load_study("quickstart")))
    content["scales"] = {"mini": {}, "far": {"outcomes": {"far": ["jpeg/*"], "ood": ["clean"]}}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert list(load_study(str(path), scale="mini").outcomes) == list(content["outcomes"])
    far = load_study(str(path), scale="far")
    assert (set(far.outcomes), far.headline) == ({"far", "ood"}, ["ood"])


@pytest.mark.parametrize(("name", "scale"), [(n, s) for n in study_names() for s in scales_of(n)])
def test_the_headline_of_a_scale_is_that_of_its_study(name, scale):
    there = load_study(name, scale=scale, overrides=["data.root=/data"])
    assert there.headline == load_study(name).headline


def test_a_dotted_key_leads_below_a_choice_and_a_whole_one_replaces_it():
    study = load_study("quickstart", overrides=["combiners.meltr.gamma=.2"])
    assert study.combiners == {"static": {}, "meltr": {"gamma": 0.2}}
    study = load_study("quickstart", overrides=["combiners={meltr: {gamma: .2}}"])
    assert study.combiners == {"meltr": {"gamma": 0.2}}
    study = load_study("quickstart", overrides=["evaluate.conditions.jpeg=[1]"])
    assert study.evaluate.conditions["jpeg"] == [1]
    assert len(study.evaluate.conditions) > 5
    study = load_study("quickstart", overrides=["evaluate.conditions={jpeg: [1]}"])
    assert study.evaluate.conditions == {"jpeg": [1]}


def test_a_profile_takes_the_place_of_listed_conditions():
    study = load_study("quickstart", overrides=["evaluate.profile=quick"])
    assert (study.evaluate.profile, study.evaluate.conditions) == ("quick", None)
    both = load_study(
        "quickstart", overrides=["evaluate={profile: quick, conditions: {jpeg: [1]}}"]
    )
    assert both.evaluate.conditions == {"jpeg": [1]}


def test_keys_are_content_addresses():
    """Equal content in other words gives an equal key; what changes the numbers changes it."""
    base = load_study("quickstart")

    def key(*overrides: str, label: str = "x", losses: dict | None = None, seed: int = 1) -> str:
        study = load_study("quickstart", overrides=overrides)
        chosen = {n: study.losses[n] for n in study.losses} if losses is None else losses
        combiner = CombinerSettings(name=next(iter(study.combiners)))
        return resolve(study, chosen, combiner, label=label, seed=seed).key

    assert key() == key(label="y")
    assert key() == key("data.cache_dir=/elsewhere", "train.log_every=1", "evaluate.batch=7")
    assert key() != key(seed=2)
    assert key() != key("train.steps=401")
    assert key() != key("losses.pixel.weight=.3")
    assert key(losses={}) == key("combiners={meltr: {}}", losses={})
    off = {**base.losses, "pixel": LossSettings(weight=0)}
    without = {n: s for n, s in base.losses.items() if n != "pixel"}
    assert key(losses=off) == key(losses=without)
    default = {"pixel": LossSettings()}
    explicit = {"pixel": LossSettings(weight=LOSSES["pixel"].default_weight)}
    assert key(losses=default) == key(losses=explicit)


def test_keys_stay_what_they_are():
    """A changed key makes every finished cell of every user run again: raise CODE_EPOCH instead."""
    weights = {"infonce": 1, "frame_difference": 1, "pixel": 0.2}
    stored = [f"losses.{name}.weight={weight}" for name, weight in weights.items()]
    stored += ["data.seed=2", "seed_base=200"]
    base = cells(load_study("quickstart", overrides=stored), "f")
    screen = ["evaluate.fidelity=screen", "combiners={meltr: {}}"]
    other = cells(load_study("quickstart", overrides=[*stored, *screen]), "f")
    assert [base[0].key, base[1].key, other[1].key] == [
        "91200660d12e35d2", "d8e1ec68673d0075", "bda66c012299737b",
    ]  # fmt: skip


def test_a_search_that_stops_early_validates():
    search = "design.kind=search"
    assert load_study("quickstart").train.validate_every == 0
    assert load_study("quickstart", overrides=[search]).train.validate_every == 40
    given = [search, "train.validate_every=7"]
    assert load_study("quickstart", overrides=given).train.validate_every == 7
    never = [search, "search.early_stopping=false"]
    assert load_study("quickstart", overrides=never).train.validate_every == 0


def test_difference_names_what_changed():
    old = load_study("quickstart").model_dump()
    new = load_study("quickstart", overrides=["train.steps=9", "losses.pixel=null"]).model_dump()
    lines = difference(old, new)
    assert "train.steps: 400 -> 9" in lines
    assert any(line.startswith("losses.pixel") and "(absent)" in line for line in lines)


def test_data_verb_settings():
    assert data_settings_from("motes-ucf", ["data.seed=4"]).seed == 4
    assert data_settings_from("motes-ucf", []).val_per_class == 30
    assert data_settings_from("motes-vtt", []).val_per_class == 25
    assert data_settings_from("motes-vtt", ["data.val_per_class=3"]).val_per_class == 3
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        data_settings_from("motes-ucf", ["data.sead=4"])


def test_schema_has_descriptions_where_units_matter():
    schema = StudyConfig.model_json_schema()
    assert "cache_frames" in str(schema)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.size_px=100", r"data\.size_px: 100 given; model 'tiny' takes .*nearest: 96"),
        ("data.size_px=16", r"data\.size_px: 16 given; .*nearest: 32"),
        ("model.knobs.frames=0", r"model\.knobs\.frames: 0 given; .* at least 1"),
        ("model.weights=/no/such/file.pth", r"model\.weights: .*looked for /no/such/file\.pth"),
        ("model.weights=kinetics", r"model\.weights: unknown weights 'kinetics'"),
    ],
)
def test_clips_and_weights_that_the_model_cannot_take_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_study("quickstart", overrides=[override])


@pytest.mark.parametrize(
    ("scales", "said"),
    [([1], "scales: expected changes"), ({"mini": 2.5}, "scales.mini"), ({"mini": []}, "mini")],
)
def test_scales_of_another_shape_are_refused(tmp_path, scales, said):
    path = tmp_path / "s.yaml"
    content = {"name": "s", "title": "t", "question": "q", "losses": {"pixel": {}}}
    path.write_text(yaml.safe_dump({**content, "scales": scales}))
    with pytest.raises(ConfigError, match=said):
        load_study(str(path))
