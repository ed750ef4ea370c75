"""The section on diversity: a planted correlation is found, an absent one is not claimed."""

from __future__ import annotations

import itertools
import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
import yaml

from losses.diversity import set_measures
from sweep.cells.designs.diverse import diverse
from sweep.cells.designs.diverse import score as diversity_of
from sweep.cells.resolve import loss_sets
from sweep.records.files import write_cell, write_json
from sweep.records.record import Score, TrialRecord
from sweep.report.analyses.diversity import claims, find
from sweep.report.build import answer, build
from sweep.report.evidence import collect
from sweep.settings.design import DesignSettings
from sweep.statistics.power import detectable_correlation
from sweep.studies.load import load_study
from tests.outcomes import as_schema_1
from tests.report.in_memory import accuracies, evidence_of
from tests.statistics.simulate import bound

SEEDS = (1, 2)
NAMES = (
    "caption", "frame_difference", "frame_order", "infonce", "masked_text", "pixel", "siglip",
    "univl_joint",
)  # fmt: skip
OVERRIDES = (
    "design.kind=diversity", "design.subsets=20", "losses.consistency=null",
    *(f"losses.{name}.weight=1" for name in NAMES),
    "combiners={meltr: {}}", "headline=[temporal]",
)  # fmt: skip


def section(losses, rng):
    """A section as records hold it, with gradients that know nothing of the catalogue."""
    measures = {
        "gradient/vendi": rng.uniform(1, 3),
        "trajectory/vendi": None,
        "effective_number": 3.0,
    }
    measures["gradient/distance"] = rng.uniform(0.5, 1.5)
    point = {"step": 0, "weights": dict.fromkeys(losses, 1.0), "measures": measures}
    return {"set": set_measures(losses), **dict.fromkeys(("start", "half", "end"), point)}


def write(folder, *, slope, untrained=(), overrides=(), seed=0):
    """A finished sweep in which temporal accuracy rises by ``slope`` points per unit of distance,
    beside all that clean accuracy explains."""
    study = load_study("quickstart", overrides=[*OVERRIDES, *overrides])
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(study.model_dump(mode="json")))
    rng = np.random.default_rng(seed)
    planned = []
    sets = loss_sets(study)
    for (label, losses), run in itertools.product(sets.items(), SEEDS):
        key = f"{len(planned):016x}"
        clean = float(70 + rng.normal(0, 4))
        distance = set_measures(losses)["catalogue_distance"] if len(losses) > 1 else 0.0
        temporal = 0.8 * clean + slope * distance + float(rng.normal(0, 1))
        planned.append({"key": key, "label": label, "losses": list(losses), "combiner": "meltr",
                        "seed": run})  # fmt: skip
        record = TrialRecord(
            key=key, label=label, status="done", seed=run, losses=tuple(losses), combiner="meltr",
            config={"losses": {n: {"weight": 1.0} for n in losses}, "seed": run},
            scores=(
                Score(condition="clean", category="clean", metrics={"top1": clean}, clips=240),
                Score(
                    condition="jumbling/3",
                    category="temporal",
                    metrics={"top1": temporal},
                    clips=240,
                ),
            ),
            final={"cross_entropy": 0.5, "trained": (label, run) not in untrained},
            weights=dict.fromkeys(losses, 1.0),
            diversity=section(losses, rng) if losses else {},
        )  # fmt: skip
        write_cell(folder / "cells" / key, record, [], None)
    write_json(folder / "plan.json", {"study": "quickstart", "cells": planned})
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "run"
    label = next(
        iter(n for n in loss_sets(load_study("quickstart", overrides=OVERRIDES)) if "d=" in n)
    )
    write(folder, slope=25.0, untrained={(label, SEEDS[0])})
    return folder, label, build(folder)


def test_a_planted_correlation_is_the_answer(planted):
    _, _, report = planted
    first = report.answer[0]
    assert first.startswith(
        "Robustness on temporal beyond ability rises with the diversity of the losses: rank "
        "correlation with catalogue distance, given which losses are in a set, ρ "
    )
    assert "over 20 loss sets (holds; p" in first
    assert "Described: accuracy given the same ρ" in first
    table = pd.read_csv(next(p for p in report.tables if p.name == "diversity.csv"))
    row = table[table.declared & (table.response == "temporal beyond ability")].iloc[0]
    assert row.measure == "set/catalogue_distance"
    assert row.given_losses > 0.7
    assert row.given_losses_low > 0.2
    assert row.given_losses_p < 0.01
    assert row.held_constant == 7  # eight losses in sets of one size
    # a gradient that was drawn at random stays uncoloured after correction
    noise = table[table.measure == "end/gradient/vendi"]
    assert (noise.given_losses_p_bh > 0.05).all()
    assert set(table.response) == {"temporal", "temporal beyond ability"}
    assert table[table.response == "temporal"].given_clean.notna().all()
    assert table[table.response != "temporal"].given_clean.isna().all()
    assert not table.measure.isin(
        ["end/trajectory/vendi", "end/effective_number", "set/losses"]
    ).any()


def test_sets_that_did_not_train_are_named_and_set_aside_once(planted):
    folder, label, report = planted
    assert "without the set with a run that did not train ρ" in report.answer[0]
    page = report.markdown.read_text()
    part = page[page.index("## Diversity") :]
    assert f"{label} (seed {SEEDS[0]})" in part
    assert "| **catalogue distance** |" in part
    assert "| clean accuracy | 1." in part.split("| term | VIF |")[1]
    assert "effective number at the end" in part.split("Equal in all loss sets")[1][:400]
    (item,) = find(collect(folder))
    (row,) = item.tests
    assert item.trained[row.response.name].n == row.given.n - 1 == 19
    assert item.p(row) == max(row.given.p, item.trained[row.response.name].p)
    assert claims([item])[0].pairs == 19
    assert any(p.name == "diversity.svg" for p in report.figures)
    assert "20 loss sets" in report.html.read_text()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_claimed_where_nothing_is(tmp_path, seed):
    folder = write(tmp_path / "run", slope=0.0, seed=seed)
    said = [text for text in answer(folder) if "iversity" in text]
    assert said[0].startswith("Not resolved, whether robustness on temporal beyond ability goes")
    assert 'Not resolved is not "no correlation"' in said[0]
    reach = detectable_correlation(20, 7)
    assert f"20 sets of 8 losses find a correlation of ±{reach:.2f} or more" in said[0]
    assert "it would take" not in said[0]
    assert said[1].startswith("Exploratory: none of")


def test_an_outcome_that_equals_clean_accuracy_has_no_correlation(tmp_path):
    folder = write(tmp_path / "run", slope=0.0)
    for path in folder.glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        for score in content["scores"]:
            score["metrics"] = dict(content["scores"][0]["metrics"])
        path.write_text(json.dumps(content))
    (said,) = [text for text in answer(folder) if text.startswith("No test of diversity")]
    assert "or all are equal" in said


def test_diversity_that_helps_clean_accuracy_alone_is_not_robustness(tmp_path):
    """Plain rho and accuracy under stress rise; beyond ability there is nothing."""
    folder = write(tmp_path / "run", slope=0.0, seed=4)
    rng = np.random.default_rng(0)
    for path in folder.glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        apart = (content.get("diversity", {}).get("set") or {}).get("catalogue_distance") or 0.0
        clean = (50 + 30 * apart + rng.normal(0, 1)) / 100
        stressed = np.log(clean / (1 - clean)) - 0.6 + rng.normal(0, 0.1)
        for score in content["scores"]:
            share = clean if score["condition"] == "clean" else 1 / (1 + np.exp(-stressed))
            score["metrics"]["top1"] = 100 * float(share)
        path.write_text(json.dumps(content))
    (item,) = find(collect(folder))
    beyond, accuracy = item.of(item.declared)
    assert accuracy.plain.rho > 0.7
    assert accuracy.given.p < 0.05
    assert beyond.given.p > 0.05
    assert not any("**Robustness" in text for text in answer(folder))


def test_most_runs_that_did_not_train_give_no_verdict(tmp_path):
    labels = list(loss_sets(load_study("quickstart", overrides=OVERRIDES)))
    lost = {(label, run) for label in labels[:-4] for run in SEEDS}
    folder = write(tmp_path / "run", slope=25.0, untrained=lost)
    (text,) = [t for t in answer(folder) if "iversity" in t]
    assert text.startswith("No verdict on diversity: ")
    assert "how long training takes to start" in text


def test_sets_that_the_losses_use_up_have_no_test(tmp_path):
    folder = write(tmp_path / "run", slope=25.0, overrides=["design.subsets=9"])
    (text,) = [t for t in answer(folder) if t.startswith("No test of diversity")]
    assert "9 loss sets of" in text


def test_older_records_without_the_section_say_so(tmp_path):
    folder = write(tmp_path / "run", slope=10.0)
    for path in folder.glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        content.pop("diversity", None)
        path.write_text(json.dumps(as_schema_1(content)))
    (text,) = [t for t in answer(folder) if "No answer" in t]
    assert text.startswith("**No answer**: catalogue distance does not vary")


# --------------------------------------------------------------------------------- error rates

NINE = (
    "caption", "frame_difference", "frame_order", "infonce", "kinematic", "masked_text", "pixel",
    "siglip", "temporal_similarity",
)  # fmt: skip


@cache
def chosen(count):
    """The sets of `loss-diversity`, their section, and their diversity."""
    settings = DesignSettings(kind="diversity", size=3, subsets=count)
    sets = tuple(sorted(diverse(NINE, settings).values()))
    return sets, {s: {"set": {settings.measure: diversity_of(s, settings.measure)}} for s in sets}


def relation(seed, count, *, true=0.0, share=1.0, kind="normal", seeds=1):
    """The declared correlation of one study: ``share`` of the variance of sets adds up over their
    losses, ``true`` is the correlation of the rest of it with diversity."""
    rng = np.random.default_rng(seed)
    sets, sections = chosen(count)
    x = np.array([sections[s]["set"]["catalogue_distance"] for s in sets])
    effect = dict(zip(NINE, rng.normal(size=len(NINE)), strict=True))
    own = np.array([sum(effect[name] for name in s) for s in sets])
    own = np.sqrt(share) * (own - own.mean()) / own.std()
    own = own + np.sqrt(1 - share) * rng.normal(size=count)
    beyond = true * (x - x.mean()) / x.std() + np.sqrt(1 - true**2) * own
    values = {
        (s, "meltr"): accuracies(
            rng, 0.0, beyond=0.6 * b, kind=kind, seeds=seeds, steady=0.0, wobble=0.9
        )
        for s, b in zip(sets, beyond, strict=True)
    }
    evidence = evidence_of(
        values, kind="diversity", losses=NINE, diversity=sections,
        design={"measure": "catalogue_distance"},
    )  # fmt: skip
    (claim,) = claims(find(evidence))
    return claim.p


def rejected(draws, count, seed, **model):
    return np.mean([relation(1_000 * seed + i, count, **model) < 0.05 for i in range(draws)])


@pytest.mark.parametrize("kind", ["normal", "heavy", "discrete"])
def test_losses_that_add_up_are_rejected_in_five_percent(kind):
    assert rejected(80, 30, 1, kind=kind) <= 0.05 + bound(0.05, 80)


@pytest.mark.calibrate
@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed", "discrete"])
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("count", [16, 30, 60])
def test_a_true_null_is_rejected_in_five_percent_in_many(kind, share, count):
    found = rejected(400, count, count, share=share, kind=kind, seeds=2 if count == 16 else 1)
    assert found <= 0.05 + bound(0.05, 400)


@pytest.mark.calibrate
@pytest.mark.parametrize(("count", "power"), [(30, 0.55), (60, 0.88)])
def test_a_planted_correlation_is_found_with_the_power_of_the_recipe(count, power):
    found = rejected(400, count, 7, true=0.6, share=0.5)
    assert found == pytest.approx(power, abs=0.06 + bound(power, 400))
