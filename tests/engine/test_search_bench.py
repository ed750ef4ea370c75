"""The simulated search of `bench`: its world, and what the real Search makes of it."""

import pytest

from sweep.bench import search


def test_a_whole_search_costs_less_and_counts_what_it_spends(tmp_path):
    study = search._study(
        "search.trials=12", "evaluate.fidelity=screen", "train.validate_every=3",
        "search.grace=0.1", "search.confirm={best: 1, seeds: 1}", "search.finalists=2",
    )  # fmt: skip
    world, found = search._run(study, tmp_path / "s")
    assert sum(world.spent.values()) == pytest.approx(sum(world.by_cell.values()))
    final, confirm = (found.promoted[stage] for stage in ("final", "confirm"))
    whole = search.VIEWS * search.CLIPS * (len(world.rows) + 1)
    assert {world.by_cell[key] for key in final} == {whole}  # no training twice
    assert all(world.by_cell[key] >= 0.999 * (whole + search.TRAINING) for key in confirm)
    runs = len(found.configs) + 2
    assert sum(world.by_cell.values()) < 0.6 * runs * (search.TRAINING + whole)


def test_the_winner_of_the_simulation_is_a_good_configuration(tmp_path):
    study = search._study("search.trials=15", "search.confirm=null",
                          "search.early_stopping=false", "evaluate.fidelity=probe")  # fmt: skip
    world, found = search._run(study, tmp_path / "s")
    count = len(world.rows)
    tried = sorted(search.true_accuracy(c, count) for c in found.configs.values())
    assert search.true_accuracy(search._winner(found), count) >= tried[-3]
