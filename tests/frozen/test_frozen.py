"""Numbers, keys, records and report texts are those that were stored before the rooms were changed.

What may change them on purpose says so in the CHANGELOG and runs ``python -m tests.frozen.make``.
"""

import gzip
import json
import math
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.frozen import adapter
from tests.frozen.make import CELL, HERE, SWEEPS, machine

STORED = sorted(path.name for path in (HERE / "sweeps").iterdir())


@pytest.fixture(scope="module")
def few_angles():
    """As many batches as the stored trials had."""


def pairs():
    return json.loads(gzip.decompress((HERE / "keys.json.gz").read_bytes()))


def test_two_hundred_stored_configs_have_their_keys():
    stored = pairs()
    assert len({row["key"] for row in stored}) == 200
    wrong = [row["key"] for row in stored if adapter.trial_from(row["config"]).key != row["key"]]
    assert not wrong


def test_studies_and_overrides_still_lead_to_the_stored_keys():
    by_place = {}
    for row in pairs():
        by_place.setdefault((row["study"], row["scale"], *row["overrides"]), []).append(row)
    assert len(by_place) > 80
    for (study, scale, *overrides), rows in by_place.items():
        planned = {c.key for c in adapter.cells_of(adapter.load_study(study, scale, overrides))}
        missing = [row["label"] for row in rows if row["key"] not in planned]
        assert not missing, (study, scale, overrides)


@pytest.mark.parametrize("name", STORED)
def test_stored_sweeps_are_reported_in_the_same_words(name, tmp_path, request):
    if name != "retrieval":  # figures of the other tasks and designs are drawn by other tests
        request.getfixturevalue("undrawn")
    folder = tmp_path / name
    shutil.copytree(HERE / "sweeps" / name, folder)
    assert adapter.report_of(folder) == (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STORED)
def test_stored_records_and_outcomes_are_read_whole(name):
    folder = HERE / "sweeps" / name
    records = adapter.records_of(folder)
    assert records
    for record in records:
        stored = json.loads((folder / "cells" / record.key / "result.json").read_text("utf-8"))
        for score, row in zip(record.scores, stored["scores"], strict=True):
            assert (score.condition, score.accuracy) == (row["condition"], row["accuracy"])
        outcomes = adapter.outcomes_of(folder / "cells" / record.key)
        for score in record.scores:
            correct = outcomes.correct(score.condition)
            assert 100 * correct.mean() == pytest.approx(score.accuracy)
            assert len(outcomes.tested(score.condition)) == score.clips


def at_home():
    """Whether this machine rounds, and encodes clips, as the one that stored the numbers."""
    return machine() == (HERE / "machine.txt").read_text("utf-8").strip()


def made_again(config):
    """A record of the cell, elsewhere of the bytes that this machine's encoder gives the clips."""
    here = config if at_home() else config.model_copy(update={"fingerprint": ""})
    return adapter.run_cell(here).to_json()


def compare(made, stored):
    """Names, pixels and (on the machine that stored them) numbers of two records.

    Both are read, as records of any schema are.
    """
    made, stored = (adapter.record_from(content).to_json() for content in (made, stored))
    here = {score["condition"]: score for score in made["scores"]}
    there = {score["condition"]: score for score in stored["scores"]}
    assert list(here) == list(there)
    for name, row in there.items():
        assert here[name]["clips"] == row["clips"], name
        assert here[name]["category"] == row["category"], name
        assert here[name].get("level", "") == row.get("level", ""), name
        assert all(map(math.isfinite, here[name]["metrics"].values()))
    if at_home():
        assert [here[n]["pixels"] for n in there] == [there[n]["pixels"] for n in there]
        assert [here[n]["metrics"] for n in there] == [there[n]["metrics"] for n in there]
        for part in ("final", "weights", "forwards", "diversity", "probabilities", "estimates"):
            assert made.get(part) == stored.get(part), part
        assert (made["data"], made["key"]) == (stored["data"], stored["key"])
    assert made["forwards"] == stored["forwards"]
    # another processor's encoder may write other bytes of the same clips
    apart = {"fingerprint"}
    assert {k: v for k, v in made["data"].items() if k not in apart} == {
        k: v for k, v in stored["data"].items() if k not in apart
    }


@pytest.mark.parametrize("name", ["classification", "retrieval", "count"])
def test_a_cell_of_a_stored_sweep_gives_its_record_again(name, tmp_path):
    study, overrides = SWEEPS[name]
    planned = adapter.cells_of(
        adapter.load_study(study, None, (*overrides, f"data.cache_dir={tmp_path}"))
    )
    stored = {record.label: record for record in adapter.records_of(HERE / "sweeps" / name)}
    label = next(label for label in stored if label.startswith("all"))
    path = HERE / "sweeps" / name / "cells" / stored[label].key / "result.json"
    content = json.loads(path.read_text("utf-8"))
    config = next(
        c for c in planned if (c.label, c.seed) == (stored[label].label, stored[label].seed)
    )
    fingerprint = content["config"]["fingerprint"]
    config = config.model_copy(update={"fingerprint": fingerprint})
    assert config.key == content["key"]
    compare(made_again(config), content)


@pytest.mark.slow
def test_a_whole_cell_of_the_tour_gives_its_record_again():
    stored = json.loads((HERE / "quickstart_cell.json").read_text("utf-8"))
    planned = adapter.cells_of(adapter.load_study("quickstart", "mini", ()))
    config = next(c for c in planned if (c.label, c.seed) == CELL)
    compare(made_again(config), stored)


def test_the_stored_numbers_hold_nothing_of_a_machine():
    """No folder of this machine, which may be the one that made them."""
    places = [str(Path.home()), tempfile.gettempdir(), str(HERE.parents[1])]
    places = [place for place in places if len(place) > 1]
    for path in Path(HERE).rglob("*"):
        if path.suffix in {".json", ".yaml", ".jsonl", ".md"}:
            text = path.read_text("utf-8")
            assert not [place for place in places if place in text], path
