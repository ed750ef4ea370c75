"""The section on diversity: a planted correlation is found, an absent one is not claimed."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import yaml

from losses.diversity import set_measures
from sweep.cells.resolve import loss_sets
from sweep.records.files import write_cell, write_json
from sweep.records.record import Score, TrialRecord
from sweep.report.analyses.diversity import find, sentences
from sweep.report.build import answer, build
from sweep.report.evidence import collect
from sweep.studies.load import load_study
from tests.outcomes import as_schema_1

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
        "temporal rises with the diversity of the losses, at equal clean accuracy"
    )
    assert "catalogue distance given clean accuracy, over 20 loss sets" in first
    table = pd.read_csv(next(p for p in report.tables if p.name == "diversity.csv"))
    row = table[table.declared & (table.response == "temporal")].iloc[0]
    assert row.measure == "set/catalogue_distance"
    assert row.partial_rho > 0.8
    assert row.partial_low > 0.5
    assert row.partial_p < 0.001
    # a gradient that was drawn at random stays uncoloured after correction
    noise = table[table.measure == "end/gradient/vendi"]
    assert (noise.partial_p_bh > 0.05).all()
    assert set(table.response) == {"temporal", "γr temporal"}
    assert not table.measure.isin(
        ["end/trajectory/vendi", "end/effective_number", "set/losses"]
    ).any()


def test_cells_that_did_not_train_are_named_and_set_aside_once(planted):
    folder, label, report = planted
    assert "Without the set with a run that did not train" in report.answer[0]
    page = report.markdown.read_text()
    part = page[page.index("## Diversity") :]
    assert f"{label} (seed {SEEDS[0]})" in part
    assert "| **catalogue distance** |" in part
    assert "| clean accuracy | 1." in part.split("| term | VIF |")[1]
    assert "effective number at the end" in part.split("Equal in all loss sets")[1][:400]
    item = find(collect(folder))[0]
    assert item.trained[0].partial.n == item.of(item.declared)[0].partial.n - 1 == 19
    assert any(p.name == "diversity.svg" for p in report.figures)
    assert "20 loss sets" in report.html.read_text()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_claimed_where_nothing_is(tmp_path, seed):
    folder = write(tmp_path / "run", slope=0.0, seed=seed)
    item = find(collect(folder))[0]
    said = sentences([item])
    assert said[0].startswith("**No correlation of diversity and robustness resolved**")
    assert 'Not resolved is not "no correlation"' in said[0]
    assert "20 loss sets find a correlation of ±0.6" in said[0]
    assert said[1].startswith("**Exploratory**: none of")


def test_an_outcome_that_follows_from_clean_accuracy_has_no_correlation(tmp_path):
    folder = write(tmp_path / "run", slope=0.0)
    for path in folder.glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        for score in content["scores"]:
            score["metrics"] = dict(content["scores"][0]["metrics"])
        path.write_text(json.dumps(content))
    said = sentences(find(collect(folder)))[0]
    assert "temporal not defined (values are equal, or follow from clean accuracy)" in said
    assert "–" not in said
    assert "it would take" not in said


def test_clean_accuracy_alone_makes_no_partial_correlation(tmp_path):
    """Diversity that helps clean accuracy only: plain rho is high, the answer says no."""
    folder = write(tmp_path / "run", slope=0.0, seed=4)
    rng = np.random.default_rng(0)
    for path in folder.glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        apart = (content.get("diversity", {}).get("set") or {}).get("catalogue_distance") or 0.0
        clean = 60 + 20 * apart + rng.normal(0, 2)
        for score in content["scores"]:
            noise = 0 if score["condition"] == "clean" else -12 + rng.normal(0, 1)
            score["metrics"]["top1"] = clean + noise
        path.write_text(json.dumps(content))
    item = find(collect(folder))[0]
    relation = item.of(item.declared)[0]
    assert relation.plain.rho > 0.7
    assert not relation.resolved


def test_sizes_that_vary_are_held_constant(tmp_path):
    folder = write(tmp_path / "run", slope=10.0, overrides=["design.sets=[[pixel, infonce]]"])
    item = find(collect(folder))[0]
    assert item.given == ("clean accuracy", "number of losses")
    assert item.of(item.declared)[0].partial.given == 2


def test_older_records_without_the_section_say_so(tmp_path):
    folder = write(tmp_path / "run", slope=10.0)
    for path in folder.glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        content.pop("diversity", None)
        path.write_text(json.dumps(as_schema_1(content)))
    assert answer(folder)[0].startswith("**No answer**: catalogue distance does not vary")
