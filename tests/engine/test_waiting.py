"""Long waits say what they wait for."""

import threading

import pytest

from sweep.engine.board import Board
from sweep.engine.waiting import waiting


def test_a_wait_is_told_at_once_and_as_long_as_it_lasts():
    said, often = [], threading.Event()

    def say(text):
        said.append(text)
        if len(said) > 2:
            often.set()

    with waiting("starting Ray", say, every_s=0.01) as tell:
        assert said[0] == "starting Ray"
        tell("node 1/2")
        assert often.wait(30)
    assert said[-1] == "starting Ray: 0 s, node 1/2"
    count = len(said)
    with pytest.raises(RuntimeError), waiting("again", said.append, every_s=60):
        raise RuntimeError
    assert said[count:] == ["again"]  # an error ends the wait as well


def test_before_the_first_worker_the_board_says_what_is_waited_for(tiny, tmp_path):
    study = tiny.study(())
    cells = tiny.cells(study, "f0")
    board = Board(study, sweep=tmp_path, total=len(cells))
    assert "0 running | waiting for the first worker" in board.line()
    board.began(cells[0], 1)
    assert "waiting for the first worker" not in board.line()
