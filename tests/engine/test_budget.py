"""A sweep that may spend so much: what counts, when it ends, how it goes on."""

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.commands import resume, status
from sweep.engine.folder import read_study
from sweep.engine.meter import Meter
from sweep.engine.run import run_study
from sweep.engine.summary import ExitCode
from sweep.records.ledger import Ledger
from sweep.report.build import build
from sweep.run import main
from sweep.settings.budget import Budget, parse_budget
from sweep.settings.section import ConfigError


def at(seconds):
    """The time of an event."""
    return datetime.fromtimestamp(1e9 + seconds, UTC).isoformat(timespec="milliseconds")


def event(name, seconds, key=None, **more):
    return {"event": name, "time": at(seconds), **({} if key is None else {"key": key}), **more}


def read(*events, **settings):
    meter = Meter(cores=2.0, gpus=0.5, **settings)
    meter.read(events)
    return meter


def test_every_attempt_counts_whatever_became_of_it():
    meter = read(
        event("opened", 0, since=at(-60)),
        *(
            piece
            for number, end in enumerate(("finished", "failed", "stopped", "lost", "finished"))
            for piece in (event("started", 600 * number, "k"), event(end, 600 * number + 360, "k"))
        ),
        event("started", 3000, "j", cores=8.0, gpus=4.0),  # a rule gave it more
    )  # fmt: skip
    meter.closed(1e9 + 3600)
    assert meter.spent("cpuh") == pytest.approx(5 * 0.1 * 2 + 600 * 8 / 3600)
    assert meter.spent("gpuh") == pytest.approx(5 * 0.1 * 0.5 + 600 * 4 / 3600)
    assert meter.spent("h") == pytest.approx(3660 / 3600)


@pytest.mark.parametrize(
    ("between", "hours"),
    [
        ([], 0.5),  # killed: it is known to have lived when it began its last cell
        ([event("interrupted", 2700)], 0.75),
    ],
)
def test_a_driver_that_is_gone_counts_until_it_was_seen(between, hours):
    events = [
        event("opened", 0, since=at(0)),
        event("started", 1800, "k"),
        *between,
        event("extended", 90_000),  # the next one, two days later, before it has the sweep
    ]
    later = event("opened", 90_000, since=at(90_000))
    assert read(*events, later).spent("h") == pytest.approx(hours)
    assert read(*events, later).spent("cpuh") == pytest.approx((hours - 0.5) * 2)
    if not between:
        seen = later | {"seen": at(3600)}
        assert read(*events, seen).spent("h") == pytest.approx(1.0)
        assert read(*events, seen).spent("cpuh") == pytest.approx(0.5 * 2)


def test_a_ledger_from_before_drivers_said_when_they_began():
    meter = read(
        event("planned", -1e5, "k"), event("started", 0, "k"), event("finished", 3600, "k")
    )
    assert (meter.spent("h"), meter.spent("cpuh")) == (1.0, 2.0)


@given(
    seconds=st.lists(st.floats(1, 1e4), min_size=1, max_size=30),
    workers=st.integers(1, 5),
    share=st.floats(0.01, 1.2),
    unit=st.sampled_from(["cpuh", "gpuh", "h"]),
)
def test_no_cell_begins_that_would_not_fit_and_one_that_fits_does(seconds, workers, share, unit):
    """Cells of one length, known in advance: the sweep ends within the budget, and uses it."""
    length = seconds[0]
    meter = Meter(cores=2.0, gpus=1.0, workers=workers, expected_s=length)
    meter.opened(0.0)
    rate = {"cpuh": 2.0, "gpuh": 1.0, "h": 1.0}[unit] / 3600
    whole = len(seconds) * length if unit != "h" else -(-len(seconds) // workers) * length
    budget = Budget(share * whole * rate + 1e-9, unit)
    moment, done = 0.0, 0
    while done < len(seconds):
        running = []
        while len(running) < min(workers, len(seconds) - done) and meter.fits(
            budget, ("full",), cores=2.0, gpus=1.0, at=moment
        ):
            key = f"{done}-{len(running)}"
            meter.handed(key, ("full",), cores=2.0, gpus=1.0)
            meter.began(key, moment, cores=2.0, gpus=1.0)
            running.append(key)
        if not running:
            break
        moment += length
        for key in running:
            meter.ended(key, moment, is_whole=True)
        done += len(running)
    spent = meter.spent(unit, moment)
    assert spent <= budget.amount * (1 + 1e-9)
    if done < len(seconds):
        assert spent + length * rate > budget.amount * (1 - 1e-9)


def test_a_cell_is_expected_to_take_what_those_like_it_took():
    meter = Meter(cores=1.0, gpus=0.0, expected_s=7.0)
    kind = ("full", "meltr/pixel")
    assert meter.expected(kind) == 7.0
    for key, its, seconds in (("a", ("probe", "static/none"), 1), ("b", ("full", "x"), 30),
                              ("c", kind, 50)):  # fmt: skip
        meter.handed(key, its, cores=1.0, gpus=0.0)
        meter.began(key, 0.0)
        meter.ended(key, float(seconds), is_whole=True)
    assert meter.expected(kind) == 50.0
    assert meter.expected(("full", "new")) == 40.0
    assert meter.expected(("screen", "new")) == 27.0


def run(tiny, sweep, *overrides, **options):
    return run_study(
        tiny.study(overrides), out=sweep, engine="local", trial=tiny.make_trial(**options),
        plan=tiny.plan,
    )  # fmt: skip


@pytest.mark.parametrize("limit", ["0.0004cpuh", "0.024min"])
def test_a_sweep_ends_before_the_cell_that_would_not_fit(
    tiny, tmp_path, look, capsys, limit, undrawn
):
    sweep = tmp_path / "s"
    ended = run(tiny, sweep, f"resources.budget={limit}", pause=0.3)
    assert ended.code == ExitCode.OVER_BUDGET == 3
    assert 2 <= ended.done <= 4  # 1.44 s
    assert ended.failed == 0
    assert f"{12 - ended.done} cells did not run" in ended.message
    assert "--budget" in ended.message
    assert ended.status_line.endswith(f"done={ended.done} failed=0 reused=0")
    stored = read_study(sweep).resources.budget
    assert parse_budget(stored) == parse_budget(limit)

    found = status.look(sweep)["budget"]
    assert found["is_over"]
    assert 0.3 * ended.done < found["spent"] * 3600 < 1.5
    assert found["limit"] == pytest.approx(0.0004)
    assert status.run(sweep) == 0
    text = capsys.readouterr().out
    assert "spent: no further cell fits" in text
    assert f"resume {sweep} --local --budget" in text
    page = build(sweep).markdown.read_text() if limit.endswith("cpuh") else ""
    if page:
        assert "ended by its budget" in page
        assert page.count("not started: over budget") == 12 - ended.done

    # the same limit again: at once, and nothing runs
    again = run(tiny, sweep, f"resources.budget={limit}", pause=0.3)
    assert (again.code, again.done) == (3, ended.done)
    whole = run(tiny, sweep, "resources.budget=1cpuh")
    assert (whole.code, whole.done, whole.message) == (0, 12, "")
    assert look.again(sweep) == []
    assert set(Ledger(sweep).executions().values()) == {1}
    assert not status.look(sweep)["budget"]["is_over"]
    if page:
        assert "ended by its budget" not in build(sweep).markdown.read_text()


def test_a_search_ends_by_its_budget_and_goes_on_with_the_same_suggestions(tiny, tmp_path):
    given = ("design.kind=search", "search.trials=12", "search.objective=clean", "seeds=1",
             "search.early_stopping=false", "search.confirm=null")  # fmt: skip

    def suggested(sweep):
        return [e["key"] for e in Ledger(sweep).events() if e["event"] == "suggested"]

    first = run(tiny, tmp_path / "s", *given, "resources.budget=0.0003cpuh", pause=0.2)
    assert first.code == 3
    assert 0 < first.done < 12
    assert run(tiny, tmp_path / "s", *given).code == 0
    run(tiny, tmp_path / "whole", *given)
    assert suggested(tmp_path / "s") == suggested(tmp_path / "whole")


def test_what_a_killed_driver_used_is_not_forgotten(start, tiny, tmp_path):
    sweep = tmp_path / "s"
    process = start(sweep, "engine=local", "pause=60", "resources.budget=1h")
    end = time.monotonic() + 60
    while not Ledger(sweep).executions():
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(4.5)  # progress.json every two seconds, the only sign of life
    assert status.look(sweep)["budget"]["spent"] * 3600 > 4  # of a cell at work
    process.kill()
    process.communicate()
    assert status.look(sweep)["budget"]["spent"] * 3600 > 1.5
    run(tiny, sweep, "resources.budget=1h")
    opened = [e for e in Ledger(sweep).events() if e["event"] == "opened"]
    assert "seen" in opened[1]
    assert status.look(sweep)["budget"]["spent"] * 3600 > 1.5


def test_a_resume_takes_another_budget_or_none(tiny, tmp_path, monkeypatch):
    sweep = tmp_path / "s"
    run(tiny, sweep, "resources.budget=0.0001cpuh", pause=0.2)
    given = {}
    monkeypatch.setattr(resume, "run_study", lambda study, **_: given.update(study=study))
    monkeypatch.setattr(resume, "finish", lambda *_: 0)
    for text, stored in (("2cpuh", "2cpuh"), (None, "0.0001cpuh"), ("none", None)):
        resume.run(sweep, engine="local", budget=text)
        assert given["study"].resources.budget == stored
    for text, said in (("2 euros", "8gpuh"), ("2gpuh", "no trial of this study asks for a GPU")):
        with pytest.raises(ConfigError, match=said):
            resume.run(sweep, engine="local", budget=text)


CELLS = (
    "design.kind=anchors", "seeds=1", "train.steps=2", "train.batch=8", "data.train_per_class=4",
    "data.val_per_class=2", "data.labelled_per_class=3", "evaluate.temporal_checks=false",
    "evaluate.conditions={jumbling: [3]}", "outcomes={clean: [clean]}", "headline=[clean]",
    "track.wandb=disabled",
)  # fmt: skip


def test_a_study_with_a_budget_from_start_to_end(tmp_path, monkeypatch, capsys):
    """As users run it: the limit chooses the fidelity once, then belongs to the sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sweep.commands.study.reported", lambda summary: summary
    )  # the test above looks at it
    given = ["study", "quickstart", "--local", *CELLS]
    assert main([*given, "--out", "runs/first"]) == 0  # tells how long a cell takes
    capsys.readouterr()

    assert main([*given, "--out", "runs/s", "--budget", "0.0000001cpuh"]) == 3
    assert "The smallest budget that works is" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "s").exists()
    assert main([*given, "--out", "runs/s", "--budget", "1cpuh"]) == 0
    said = capsys.readouterr()
    assert "fidelity full fits the budget" in said.err
    assert said.out.splitlines()[-1].endswith("done=2 failed=0 reused=0")

    grown = ["seeds=2", "--extend", "--out", "runs/s", "--budget"]
    assert main([*given, *grown, "0.0000001cpuh"]) == 3
    said = capsys.readouterr()
    assert "the sweep has spent" in said.err
    assert "which is not within the budget" in said.err
    assert "2 cells did not run" in said.out
    assert said.out.splitlines()[-1].endswith("done=2 failed=0 reused=2")
    assert main(["resume", "runs/s", "--local", "--budget", "1h"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("done=4 failed=0 reused=2")
    assert read_study(tmp_path / "runs" / "s").resources.budget == "1h"


def test_the_ledger_says_what_cells_hold(tiny, tmp_path):
    rule = {"when": {"losses": ["pixel"]}, "cpus_per_trial": 3}
    run(tiny, tmp_path, "seeds=1", f"resources.rules=[{json.dumps(rule)}]")
    held = {e["cores"] for e in Ledger(tmp_path).events() if e["event"] == "started"}
    assert held == {1.0, 3.0}
