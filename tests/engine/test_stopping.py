"""Seeds in blocks: the sweep ends when its comparisons are resolved, whoever kills it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sweep.engine.folder import read_plan
from sweep.engine.run import run_study
from sweep.planning.plan import make
from sweep.records.ledger import Ledger
from sweep.report.evidence import collect
from sweep.report.looks import claims_at, looks, rule
from sweep.settings.section import ConfigError
from sweep.statistics.contrasts import paired_contrast

GIVEN = ("design.kind=anchors", "headline=[clean]", "outcomes={clean: [clean], ood: [appearance]}")
STOPPING = (*GIVEN, "design.stopping={max_seeds: 8, look_every: 2}")


def trial_with(tiny, gain, died=()):
    """Trials whose set gains so many points over none, with a spread of 2 between seeds."""

    def trial(config, *, scratch, on_metrics=None):
        if config.seed in died:
            raise KeyboardInterrupt
        record = tiny.record_of(config)
        noise = np.random.default_rng([config.seed, len(config.losses)]).normal(0, 1)
        value = 50 + noise + gain * bool(config.losses)
        scores = tuple(replace(s, metrics={"top1": value}) for s in record.scores)
        return SimpleNamespace(record=replace(record, scores=scores), history=[], outcomes=None)

    return trial


def run(tiny, sweep, gain, *overrides, extend=False, died=(), base=STOPPING):
    return run_study(
        tiny.study([*base, *overrides]), out=sweep, engine="local", plan=tiny.plan,
        trial=trial_with(tiny, gain, died), extend=extend, rule=rule,
    )  # fmt: skip


def looked(sweep):
    found = [e for e in Ledger(sweep).events() if e["event"] == "looked"]
    return [(e["seeds"], e["resolved"]) for e in found]


def seeds_of(sweep):
    return sorted({cell.seed - 300 for cell in read_plan(sweep).cells})


def test_a_clear_effect_ends_the_sweep_at_the_first_look(tiny, tmp_path):
    summary = run(tiny, tmp_path / "s", 20)
    assert (summary.code, summary.done, summary.planned) == (0, 8, 8)
    assert looked(tmp_path / "s") == [(4, True)]
    assert seeds_of(tmp_path / "s") == [0, 1, 2, 3]
    again = run(tiny, tmp_path / "s", 20)
    assert (again.done, again.reused) == (8, 8)
    assert looked(tmp_path / "s") == [(4, True)]
    evidence = collect(tmp_path / "s")
    assert not evidence.missing
    found = looks(evidence)
    assert (found.kind, found.seeds, found.planned, found.resolved) == ("declared", (4,), 3, True)


def test_no_effect_takes_every_seed_and_looks_at_each_block(tiny, tmp_path):
    summary = run(tiny, tmp_path / "s", 0)
    assert summary.done == 16
    assert looked(tmp_path / "s") == [(4, False), (6, False), (8, False)]
    assert looks(collect(tmp_path / "s")).seeds == (4, 6, 8)


def test_a_look_follows_from_the_records_alone(tiny, tmp_path):
    run(tiny, tmp_path / "s", 2.5)
    events = [e for e in Ledger(tmp_path / "s").events() if e["event"] == "looked"]
    assert events
    for event in events:
        again = rule(tmp_path / "s", event["seeds"])
        assert again == {name: event[name] for name in again}
    # what came later changes no earlier look; p is that of the look times their number
    evidence = collect(tmp_path / "s")
    (claim,) = claims_at(evidence, events[-1]["seeds"])
    none, whole = (
        {s: r.accuracy["clean"] for s, r in evidence.cell(name).records.items()}
        for name in ("none", "all")
    )
    p = paired_contrast(whole, none).t_p
    assert claim.p == pytest.approx(min(1, looks(evidence).price * p))


@pytest.mark.parametrize("cut", ["before the look", "after the look", "in a block"])
def test_a_driver_that_dies_makes_the_same_looks(tiny, tmp_path, cut):
    run(tiny, tmp_path / "quiet", 0)
    part = tmp_path / "s"
    died = {"before the look": 303, "after the look": 304, "in a block": 305}[cut]
    summary = run(tiny, part, 0, died=(died,))
    assert summary.code == 130
    if cut == "before the look":  # every cell is there, the ledger was not told of the look
        run(tiny, part, 0, died=(304,))
        ledger = Ledger(part)
        lines = ledger.path.read_text().splitlines(keepends=True)
        at = next(i for i, line in enumerate(lines) if json.loads(line)["event"] == "looked")
        ledger.path.write_text("".join(lines[:at]))
    assert run(tiny, part, 0).code == 0
    assert looked(part) == looked(tmp_path / "quiet")
    assert max(Ledger(part).executions().values()) <= 2
    assert seeds_of(part) == list(range(8))


def test_an_extension_goes_on_with_the_declared_looks(tiny, tmp_path):
    run(tiny, tmp_path / "s", 20)
    with pytest.raises(ConfigError, match="add the new cells to it with --extend"):
        run(tiny, tmp_path / "s", 20, "seeds=6")
    run(tiny, tmp_path / "s", 20, "seeds=6", extend=True)
    assert seeds_of(tmp_path / "s") == list(range(6))
    assert looked(tmp_path / "s") == [(4, True), (6, True)]
    found = looks(collect(tmp_path / "s"))
    assert (found.kind, found.seeds, found.planned) == ("declared", (4, 6), 3)
    with pytest.raises(ConfigError, match=r"seeds: 9 given, .*max_seeds is 8: its looks share"):
        run(tiny, tmp_path / "s", 20, "seeds=9", extend=True)
    for change in ("design.stopping.max_seeds=12", "design.stopping=null"):
        with pytest.raises(ConfigError, match="these changes do something else"):
            run(tiny, tmp_path / "s", 20, change, extend=True)


def test_an_undeclared_extension_is_a_look(tiny, tmp_path):
    run(tiny, tmp_path / "s", 20, "seeds=4", base=GIVEN)
    assert looks(collect(tmp_path / "s")).kind == "once"
    run(tiny, tmp_path / "s", 20, "seeds=5", base=GIVEN, extend=True)
    run(tiny, tmp_path / "s", 20, "seeds=7", base=GIVEN, extend=True)
    found = looks(collect(tmp_path / "s"))
    assert (found.kind, found.seeds, found.planned) == ("extended", (4, 5, 7), 0)
    assert found.order == tuple(range(300, 307))
    assert (found.price, found.next_price) == (12, 20)
    assert (replace(found, kind="once").price, replace(found, planned=5).next_price) == (1, 5)


def test_stopping_says_what_it_costs_and_where_it_does_not_fit(tiny):
    plan = make(tiny.study([*STOPPING, "seeds=5"]), workers=1)
    assert (plan.looks, plan.least_cells, len(plan.cells)) == ((6, 8), 12, 16)
    for change, message in (
        ("design.kind=count", "asks for a trend over loss sets"),
        ("design.kind=search", "chooses among its cells"),
        ("seeds=[1, 2, 3]", "3 given, design.stopping.max_seeds is 8: list all of them"),
    ):
        with pytest.raises(ConfigError, match=message):
            tiny.study([*STOPPING, change])
    with pytest.raises(ConfigError, match="nobody looks at the seeds"):
        run_study(tiny.study(STOPPING), engine="local", plan=tiny.plan)


@pytest.mark.slow
@pytest.mark.ray
def test_ray_looks_as_the_local_engine_does(tiny, tmp_path):
    run(tiny, tmp_path / "local", 20)
    summary = run_study(
        tiny.study(STOPPING), out=tmp_path / "ray", plan=tiny.plan, rule=rule,
        trial=trial_with(tiny, 20),
    )  # fmt: skip
    assert summary.code == 0
    assert looked(tmp_path / "ray") == looked(tmp_path / "local")
    assert seeds_of(tmp_path / "ray") == seeds_of(tmp_path / "local")
