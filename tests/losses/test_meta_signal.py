"""Signal and noise of the meta gradient, loss by loss."""

import math

import numpy as np
import pytest

from losses.combine.meta_signal import MetaSignal


def of(rows):
    signal = MetaSignal()
    for row in rows:
        signal.add(list(row))
    return signal


def test_ratio_of_mean_to_noise():
    rng = np.random.default_rng(0)
    rows = rng.normal([0.35, 0.0, -2.0], [1.0, 1.0, 0.5], (4_000, 3))
    assert of(rows).ratios() == pytest.approx([0.35, 0.0, -4.0], abs=0.1)


def test_the_course_of_training_is_no_noise():
    rng = np.random.default_rng(1)
    course = np.linspace(10, 0, 1_000)
    (found,) = of((course + rng.normal(0, 0.5, 1_000))[:, None]).ratios()
    assert found == pytest.approx(10, rel=0.1)
    assert course.mean() / course.std() < 2


def test_a_continued_training_counts_on():
    rng = np.random.default_rng(2)
    rows = rng.normal(1, 1, (40, 2))
    half = MetaSignal()
    half.load_state_dict(of(rows[:20]).state_dict())
    for row in rows[20:]:
        half.add(list(row))
    assert half.ratios() == of(rows).ratios()


def test_too_few_steps_have_no_ratio():
    assert MetaSignal().ratios() == []
    assert all(map(math.isnan, of([[1.0, 2.0]]).ratios()))
    assert math.isnan(of([[1.0], [1.0]]).ratios()[0])
