"""What becomes of trials on Ray, decided without Ray."""

import math
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from sweep.engine.demand import Demand
from sweep.engine.signals import Halt
from sweep.engine.summary import ExitCode
from sweep.engine.tune.decisions import (
    HOPELESS_AFTER,
    NO_WORKER_S,
    Decisions,
    beat_every_s,
    with_more_room,
)
from sweep.engine.tune.failures import MAX_NODE_LOSSES
from sweep.engine.tune.placement import WAITING_MEMORY_BYTES, Placement
from sweep.engine.tune.reporter import pack
from sweep.engine.tune.tune_run import waiting_trials
from sweep.engine.tune.watch import Hang
from sweep.records.ledger import failed_record
from sweep.records.record import TrialResult

DIED = "x\nWorker unexpectedly exits with a connection error code 2."
NODE = "x\nThe actor died because its node has died."
MEMORY = "x\nsweep.engine.tune.failures.TrialOutOfMemoryError: no room"


class Told:
    """Takes the place of a session: keeps what it is told."""

    def __init__(self, study, cells, sweep):
        self.study, self.sweep = study, sweep
        self.waiting, self.said = list(cells), []
        self.stop_at = math.inf

    def next(self):
        return self.waiting.pop(0) if self.waiting else None

    def check(self):
        self.said.append(("check",))

    def began(self, key, asked):
        self.said.append(("began", key, asked.cpus))

    def advanced(self, key, rows, at):
        self.said.append(("advanced", key, len(rows), at))
        return any(row["step"] >= self.stop_at for row in rows)

    def ended(self, result):
        self.said.append(("ended", result.record.key, result.record.status))

    def stopped(self, key):
        self.said.append(("stopped", key))

    def attempt_lost(self, key, kind, message, *, host):
        self.said.append(("attempt_lost", key, kind, host))

    def lost(self, key, message, *, kind):
        self.said.append(("lost", key, kind, message))

    def hung(self, key, message, stacks):
        self.said.append(("hung", key, stacks))

    def note(self, text):
        self.said.append(("note", text))


class Watch:
    """Finds what a test says."""

    def __init__(self):
        self.hangs, self.dead, self.places = [], {}, {}

    def began(self, key, actor):
        self.places[key] = {}

    def heard(self, key, *, where, at):
        self.places[key] = where or self.places.get(key, {})

    def ended(self, key):
        self.places.pop(key, None)

    def host(self, key):
        return self.places.get(key, {}).get("host")

    def check(self):
        found, self.hangs = self.hangs, []
        return found

    def lost(self, key):
        return self.dead.pop(key, None)


@pytest.fixture
def at(tiny, tmp_path):
    """Decisions about the cells of a tiny study, all of which have begun."""

    def make(*overrides):
        study = tiny.study(("resources.max_failures=1", *overrides))
        cells = tiny.cells(study, "f0")
        told, watch = Told(study, cells, tmp_path), Watch()
        decisions = Decisions(told, watch)
        trials = []
        while (settings := decisions.next(Placement(study.resources))) is not None:
            trials.append(settings)
            decisions.began(settings, None)
        told.said.clear()
        return SimpleNamespace(
            decisions=decisions, told=told, watch=watch, cells=cells, trials=trials,
            keys=[t["key"] for t in trials],
        )  # fmt: skip

    return make


def test_a_worker_is_told_all_it_needs(at):
    found = at("resources.hang_timeout_s=8")
    for cell, settings in zip(found.cells, found.trials, strict=True):
        assert settings["key"] == cell.key
        assert type(cell).model_validate_json(settings["cell"]).key == cell.key
        assert settings["beat_every_s"] == 2.0 == beat_every_s(found.told.study.resources)
        assert Demand(**settings["demand"]).bundle() == settings["bundle"] == {"CPU": 1.0}
    ranked = at("resources.workers_per_trial=2", "resources.cpus_per_trial=2").trials[0]
    assert ranked["demand"]["ranks"] == 2
    assert ranked["bundle"] == {"memory": WAITING_MEMORY_BYTES}


def test_a_record_ends_a_cell_once_and_tune_keeps_no_copy(at, tiny):
    found = at()
    key = found.keys[0]
    packed = pack(TrialResult(record=tiny.record_of(found.cells[0]), history=[], outcomes=None))
    report = {"step": 5, "rows": [{"step": 5}], "at": "testing", "packed": packed}
    assert not found.decisions.stops(key, report)
    found.decisions.reported(key, report)
    assert report == {"step": 5}
    found.decisions.reported(key, {"step": 5, "packed": packed})
    found.decisions.completed(key)
    assert not found.decisions.lost(key, DIED)  # a worker may die after its last word
    assert found.told.said == [("check",), ("advanced", key, 1, "testing"), ("ended", key, "done")]


def test_a_trial_that_tune_ends_without_a_record_was_stopped(at):
    found = at()
    found.told.stop_at = 3
    key = found.keys[0]
    assert not found.decisions.stops(key, {"step": 2, "rows": [{"step": 2}]})
    assert found.decisions.stops(key, {"step": 3, "rows": [{"step": 3}]})
    found.decisions.completed(key)
    found.decisions.completed(key)
    assert found.told.said.count(("stopped", key)) == 1


def test_a_lost_worker_is_replaced_until_it_was_lost_too_often(at):
    found = at()
    key = found.keys[0]
    found.decisions.reported(key, {"step": 0, "rows": [], "where": {"host": "n1"}})
    found.decisions.reported(key, {"step": 1, "rows": []})
    assert found.decisions.lost(key, DIED)
    assert found.told.said[-1] == ("attempt_lost", key, "WorkerDied", "n1")
    assert all(found.decisions.lost(key, NODE) for _ in range(MAX_NODE_LOSSES))
    assert not found.decisions.lost(key, DIED)
    kind, message = found.told.said[-1][2:]
    assert kind == "WorkerDied"
    assert f"its worker died {MAX_NODE_LOSSES + 2} times" in message
    assert "killed from outside" in message
    assert not found.decisions.lost(key, DIED)
    assert [name for name, *_ in found.told.said].count("lost") == 1


def test_a_silent_worker_counts_as_a_hang_with_its_stacks(at):
    found = at()
    first, second = found.keys[:2]
    hang = Hang(key=first, message="no sign of life for 9 s on n1", stacks="a stack", host="n1")
    found.watch.hangs = [hang]
    found.decisions.check()
    assert found.told.said == [("check",), ("hung", first, "a stack")]
    assert found.decisions.lost(first, DIED)
    assert found.told.said[-1] == ("attempt_lost", first, "Hang", "n1")
    # Tune sees the death before the watch has its answer
    found.watch.dead[second] = Hang(key=second, message="silent", stacks="late", host=None)
    assert found.decisions.lost(second, DIED)
    assert found.told.said[-2:] == [
        ("hung", second, "late"), ("attempt_lost", second, "Hang", None),
    ]  # fmt: skip


def test_what_ran_out_of_memory_twice_keeps_its_own_record(at):
    found = at()
    key = found.keys[0]
    record = failed_record(found.cells[0], kind="OutOfMemory", message="no room for 3 GiB")
    packed = pack(TrialResult(record=record, history=[], outcomes=None))
    for again in (True, False):
        found.decisions.reported(key, {"step": 5, "rows": [], "out_of_memory": packed})
        assert found.decisions.lost(key, MEMORY) is again
    assert [s for s in found.told.said if s[0] != "check"] == [
        ("attempt_lost", key, "OutOfMemory", None), ("ended", key, "failed"),
    ]  # fmt: skip


def test_a_wait_for_workers_is_told_with_what_to_look_at_and_less_and_less_often(
    tiny, tmp_path, monkeypatch
):
    now = [1000.0]
    monkeypatch.setattr("sweep.engine.tune.decisions.time.monotonic", lambda: now[0])
    study = tiny.study(())
    told = Told(study, tiny.cells(study, "f0")[:1], tmp_path)
    decisions = Decisions(told, Watch())

    def notes_after(seconds):
        now[0] += seconds
        told.said.clear()
        decisions.check()
        return [said[1] for said in told.said if said[0] == "note"]

    assert notes_after(2 * NO_WORKER_S) == []  # nothing waits
    settings = decisions.next(Placement(study.resources))
    assert notes_after(NO_WORKER_S - 1) == []
    (text,) = notes_after(2)
    assert "no worker has come up for 2 min" in text
    for word in ("1 CPU + 0 GPU", "ray status", "doctor", str(tmp_path / "ray.log")):
        assert word in text
    assert notes_after(NO_WORKER_S - 2) == []
    assert len(notes_after(2)) == 1
    decisions.began(settings, None)
    assert notes_after(9 * NO_WORKER_S) == []
    decisions.lost(settings["key"], DIED)
    assert notes_after(NO_WORKER_S - 1) == []
    assert len(notes_after(2)) == 1


def test_workers_that_never_come_up_end_the_sweep(at):
    found = at("resources.max_failures=0")
    for key in found.keys[: HOPELESS_AFTER - 1]:
        found.decisions.reported(key, {"step": 0, "rows": [], "where": {"host": "n1"}})
        assert not found.decisions.lost(key, "x\nImportError: no torch here")
    with pytest.raises(Halt, match="no worker survives its start; the last one: no torch") as halt:
        found.decisions.lost(found.keys[HOPELESS_AFTER - 1], "x\nImportError: no torch here")
    assert halt.value.code == ExitCode.ENVIRONMENT
    assert "ray.log" in halt.value.message


def test_one_report_is_enough_for_hope(at):
    found = at("resources.max_failures=0")
    found.decisions.reported(found.keys[-1], {"step": 1, "rows": []})
    for key in found.keys[:-1]:
        assert not found.decisions.lost(key, DIED)


def test_what_ran_out_of_memory_is_started_with_more(at):
    (settings, *_) = at("resources.memory_gb_per_trial=1", "resources.gpus_per_trial=0.25").trials
    nodes = [{"CPU": 8, "GPU": 1, "memory": 64 * 1024**3}]
    wider = with_more_room(settings, MEMORY, lambda: nodes)
    assert wider["bundle"]["memory"] == 64 * 1024**3
    assert (wider["key"], wider["cell"]) == (settings["key"], settings["cell"])
    card = with_more_room(settings, f"{MEMORY}: CUDA", lambda: nodes)
    assert (card["bundle"]["GPU"], card["demand"]["gpus"]) == (1.0, 1.0)
    assert settings["bundle"]["GPU"] == 0.25

    def nobody():
        raise AssertionError("nodes were asked for nothing")

    assert with_more_room(settings, DIED, nobody) is None
    ranked = {**settings, "demand": asdict(Demand(cpus=1.0, ranks=2))}
    assert with_more_room(ranked, MEMORY, nobody) is None
    assert with_more_room(card, f"{MEMORY}: CUDA", lambda: nodes) is None


@pytest.mark.parametrize(("room", "learns", "expected"), [(1, False, 2), (30, False, 30),
                                                          (1, True, 2), (30, True, 4)])  # fmt: skip
def test_how_many_trials_stand_ready(room, learns, expected):
    assert waiting_trials(room, learns=learns) == expected
