"""What ``sweep.engine.contract`` promises, held against a real session and real engines.

``Wild`` does everything wrong that an engine may do: it loses workers, lets cells hang, stops them,
repeats itself, talks of cells that are none of its business, and runs several at a time. The
session is real, with its ledger, its folder and its files.
"""

import json
import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from sweep.engine import contract, local
from sweep.engine.board import Board
from sweep.engine.demand import Demand
from sweep.engine.run import ENGINES, load_engine
from sweep.engine.session import Session
from sweep.engine.signals import Signals
from sweep.engine.summary import ExitCode
from sweep.records.files import read_history
from sweep.records.ledger import Ledger, failed_record
from sweep.records.record import TrialResult

FATES = ("done", "failed", "lost", "stopped", "lost again", "never began", "hung")
AT_MOST_LOST = 2


class Wild:
    """An engine whose workers die, hang and babble. Everything it does is drawn from a seed."""

    def __init__(self, tiny, seed, *, workers=3, fates=FATES):
        self.tiny, self.draw = tiny, random.Random(seed)
        self.workers, self.fates = workers, fates
        self.handed = []
        self.ended = {}

    def __call__(self, cells, trial=None, *, address=None):
        cells.expect_workers(self.workers)
        at_work = {}
        while True:
            while len(at_work) < self.workers and (cell := cells.next()) is not None:
                self.handed.append(cell.key)
                at_work[cell.key] = (cell, self.draw.choice(self.fates))
            if not at_work:
                assert cells.is_over, "nothing at work, nothing to come, and it is not over"
                assert cells.next() is None
                return
            key = self.draw.choice(sorted(at_work))
            self._run(cells, *at_work.pop(key))
            self._babble(cells, key)
            cells.check()

    def _run(self, cells, cell, fate):
        key, rows = cell.key, [{"step": s, "unified": 1 / s} for s in (1, 2, 3)]
        losses = {"lost again": AT_MOST_LOST, "lost": 1, "hung": 1}.get(fate, 0)
        for _ in range(losses):
            cells.began(key)
            cells.heard(key, "step 1/5")
            cells.advanced(key, rows[:1])
            if fate == "hung":
                cells.hung(key, "no sign of life for 9 s", "a stack")
            cells.attempt_lost(key, "Hang" if fate == "hung" else "WorkerDied", "x", host=None)
        self.ended[key] = fate
        if fate == "never began":
            cells.lost(key, "its worker never came up")
            return
        cells.began(key, Demand(cpus=2.0))
        cells.advanced(key, rows)
        cells.advanced(key, rows[1:])  # once more
        if fate == "failed":
            record = failed_record(cell, kind="Diverged", message="not finite")
            cells.ended(TrialResult(record=record, history=rows, outcomes=None))
        elif fate == "stopped":
            cells.advanced(key, [{"step": 4, "clean_accuracy": 11.0}])
            cells.stopped(key)
        elif fate == "lost again":
            cells.lost(key, "lost three times")
        else:
            record = self.tiny.record_of(cell)
            cells.ended(TrialResult(record=record, history=rows, outcomes=None))

    def _babble(self, cells, key):
        """Say something of a cell that has ended, and of one that nobody knows."""
        for about in (key, "f" * 16):
            assert not cells.advanced(about, [{"step": 9, "unified": 0.0}], "step 9/5")
            cells.heard(about, "testing")
            match self.draw.randrange(5):
                case 0:
                    cells.began(about)
                case 1:
                    cells.attempt_lost(about, "NodeDied", "gone", host="n1")
                case 2:
                    cells.lost(about, "gone")
                case 3:
                    cells.stopped(about)
                case 4 if about == key:
                    cell = next(c for c in cells.samples() if c.key == key)
                    record = failed_record(cell, kind="Twice", message="told twice")
                    cells.ended(TrialResult(record=record, history=[], outcomes=None))


def session_on(tiny, sweep, *overrides):
    study = tiny.study(overrides)
    sweep.mkdir(parents=True, exist_ok=True)
    board = Board(study, sweep=sweep, total=0, console=Console(quiet=True))
    session = Session(
        study, sweep, tiny.cells(study, "f0"), signals=Signals(), board=board, fingerprint="f0"
    )
    session.plan_file.write()
    return session


def run(session, engine):
    with session:
        if session.is_open:
            engine(session)
    return session.summary()


def check_story(ledger):
    """Every cell's events are a sentence of the contract; returns key -> its last event."""
    told = {"started", "lost", "finished", "failed", "stopped"}
    stories = {}
    for event in ledger.events():
        if event["event"] in told:
            stories.setdefault(event["key"], []).append(event)
    for events in stories.values():
        names = [e["event"] for e in events]
        *attempts, end = names
        assert end in {"finished", "failed", "stopped"}
        assert not set(attempts) & {"finished", "failed", "stopped"}, names
        expected = ["started", "lost"] * (len(attempts) // 2) + ["started"] * (len(attempts) % 2)
        assert attempts == expected, names
        numbers = [e["attempt"] for e in events if e["event"] == "started"]
        assert numbers == list(range(1, len(numbers) + 1))
    return {key: events[-1]["event"] for key, events in stories.items()}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**31), workers=st.integers(1, 5))
def test_whatever_an_engine_does_each_cell_ends_once(tiny, tmp_path_factory, seed, workers):
    sweep = tmp_path_factory.mktemp("wild") / "s"
    engine = Wild(tiny, seed, workers=workers)
    session = session_on(tiny, sweep)
    summary = run(session, engine)
    ledger, cells = Ledger(sweep), session.queue.cells

    assert Counter(engine.handed) == Counter(cells.keys())
    ends = check_story(ledger)
    fates = Counter(engine.ended.values())
    of = {"done": "finished", "lost": "finished", "hung": "finished", "failed": "failed",
          "never began": "failed", "lost again": "failed", "stopped": "stopped"}  # fmt: skip
    assert ends == {key: of[fate] for key, fate in engine.ended.items()}

    assert summary.planned == len(cells) == 12
    assert summary.done == fates["done"] + fates["lost"] + fates["hung"] == len(ledger.finished())
    assert summary.stopped == fates["stopped"]
    assert summary.failed == len(ledger.failed()) == len(summary.failures)
    assert summary.failed == fates["failed"] + fates["never began"] + fates["lost again"]
    assert summary.reused == 0
    assert summary.message == ""
    assert summary.code == (ExitCode.CELLS_FAILED if summary.failed else ExitCode.DONE)
    assert session.allowance.meter.held == {}
    counts = json.loads((sweep / "progress.json").read_text())
    assert [counts[name] for name in ("total", "done", "failed", "stopped")] == [
        12, summary.done, summary.failed, summary.stopped,
    ]  # fmt: skip
    assert counts["running"] == []
    for key, fate in engine.ended.items():
        assert (ledger.cell(key) / "stacks.txt").exists() == (fate == "hung")
        steps = [row["step"] for row in read_history(ledger.cell(key))]
        assert steps == {"never began": [], "stopped": [1, 2, 3, 4]}.get(fate, [1, 2, 3])

    # what is done is never handed out again, by whatever engine; the rest is
    again = Wild(tiny, seed + 1, fates=("done",))
    session = session_on(tiny, sweep)
    second = run(session, again)
    assert set(again.handed) == set(cells) - {k for k, end in ends.items() if end == "finished"}
    assert (second.code, second.done, second.reused) == (0, 12, summary.done)
    third = run(session_on(tiny, sweep), nothing_is_left)
    assert (third.code, third.done, third.reused) == (0, 12, 12)


def nothing_is_left(cells):
    raise AssertionError("an engine was started for nothing")


def test_a_budget_ends_any_engine_at_a_cell_and_lets_it_go_on(tiny, tmp_path, monkeypatch):
    """Each cell takes an hour of two cores: five fit into ten core-hours, none begins for less."""
    moment = time.time()
    monkeypatch.setattr("sweep.engine.allowance.time.time", lambda: moment)
    session = session_on(tiny, tmp_path / "s", "resources.budget=10cpuh")
    session.allowance.meter.expected_s = 3600.0

    def hourly(cells):
        nonlocal moment
        while (cell := cells.next()) is not None:
            cells.began(cell.key, Demand(cpus=2.0))
            moment += 3600.0
            cells.ended(TrialResult(record=tiny.record_of(cell), history=[], outcomes=None))
        assert cells.is_over

    summary = run(session, hourly)
    assert summary.code == ExitCode.OVER_BUDGET
    assert summary.done == 5
    assert "7 cells did not run" in summary.message
    (event,) = [e for e in Ledger(tmp_path / "s").events() if e["event"] == "over_budget"]
    assert (event["spent"], event["limit"]) == (10.0, 10.0)


def test_a_search_is_asked_again_once_something_has_ended(tiny, tmp_path):
    """`next` may say None for now: an engine with many workers goes on when results are in."""
    session = session_on(
        tiny, tmp_path / "s", "design.kind=search", "search.trials=9", "search.objective=clean",
        "seeds=1", "search.early_stopping=false", "search.confirm={best: 1, seeds: 2}",
    )  # fmt: skip
    assert session.learns
    engine = Wild(tiny, 5, workers=4, fates=("done", "lost"))
    summary = run(session, engine)
    assert summary.code == 0
    assert len(engine.handed) == len(set(engine.handed)) == summary.done
    check_story(Ledger(tmp_path / "s"))


# ------------------------------------------------------------------------------------ real engines


class Witness:
    """Stands between an engine and a session; lets through and notes what the contract names."""

    def __init__(self, session):
        self._session = session
        self.said = []

    def __getattr__(self, name):
        public = {n for n in [*dir(contract.Cells), *contract.Cells.__annotations__] if n[0] != "_"}
        assert name in public, f"an engine asked for {name}, which is not in the contract"
        found = getattr(self._session, name)
        if not callable(found):
            return found

        def call(*arguments, **named):
            answer = found(*arguments, **named)
            if name == "next":
                self.said.append((name, None if answer is None else answer.key))
            elif name in {"began", "advanced", "stopped", "lost", "attempt_lost", "ended"}:
                first = arguments[0]
                self.said.append((name, first.record.key if name == "ended" else first))
            return answer

        return call


def test_the_engine_without_ray_keeps_to_the_contract(tiny, tmp_path):
    session = session_on(tiny, tmp_path / "s")
    witness = Witness(session)
    with session:
        local.run_cells(witness, tiny.make_trial(fail="all"))
    assert session.is_over
    check_story(session.ledger)
    summary = session.summary()
    assert (summary.done, summary.failed) == (10, 2)
    handed = [key for name, key in witness.said if name == "next"]
    assert handed == [*session.queue.cells, None]
    for key in session.queue.cells:
        names = [name for name, about in witness.said if about == key]
        failed = key in session.ledger.failed()
        assert names == ["next", "began", *([] if failed else ["advanced"] * 5), "ended"]


def test_the_engine_without_ray_ends_cells_early(tiny, tmp_path):
    session = session_on(
        tiny, tmp_path / "s", "design.kind=search", "search.trials=10", "seeds=1",
        "search.objective=clean", "train.validate_every=1", "search.grace=0.4",
        "search.reduction=2", "search.confirm=null",
    )  # fmt: skip
    with session:
        local.run_cells(Witness(session), tiny.make_trial())
    ends = Counter(check_story(session.ledger).values())
    assert ends["stopped"] == session.summary().stopped > 0
    assert ends["finished"] == session.summary().done > 0


@pytest.mark.parametrize("name", ENGINES)
def test_every_row_of_the_table_is_an_engine(name):
    assert callable(load_engine(name))


def test_an_unknown_engine_names_the_nearest(tiny, tmp_path):
    from sweep.engine.run import run_study
    from sweep.settings.section import ConfigError

    with pytest.raises(ConfigError, match="unknown engine 'locale'; did you mean 'local'"):
        run_study(tiny.study(()), out=tmp_path / "s", engine="locale", plan=tiny.plan)
    assert not (tmp_path / "s").exists()


def test_a_session_answers_everything_that_the_contract_names(tiny, tmp_path):
    session = session_on(tiny, tmp_path / "s")
    for name in [*dir(contract.Cells), *contract.Cells.__annotations__]:
        if not name.startswith("_"):
            assert hasattr(session, name)
            assert callable(getattr(contract.Cells, name, None)) == callable(getattr(session, name))
