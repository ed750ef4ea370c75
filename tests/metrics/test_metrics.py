"""Robustness, consistency and calibration on cases that can be worked out by hand."""

import math

import numpy as np
import pytest

from sweep.metrics.agreement import (
    consistency,
    flip_probability,
    flip_rate,
    rank_distance,
    representation_shift,
    resist_rate,
    temporal_sensitivity,
)
from sweep.metrics.calibration import calibration
from sweep.metrics.robustness import (
    AccuracyLine,
    absolute_robustness,
    accuracy_line,
    area_under_severity,
    corruption_error,
    effective_robustness,
    leave_one_out_robustness,
    mean_performance,
    relative_corruption_error,
    relative_performance,
    relative_robustness,
    robustness,
    severity_to_half,
    value_at_risk,
    worst_condition,
    worst_perturbation,
)

nan = math.isnan


def test_gamma_by_hand():
    assert absolute_robustness(80, 60) == pytest.approx(0.8)
    assert relative_robustness(80, 60) == pytest.approx(0.75)
    assert relative_robustness(50, [50, 60]).tolist() == [1.0, 1.2]
    assert nan(relative_robustness(0.0, 10.0))


def test_macro_averages_categories_and_micro_perturbations():
    perturbed = {"a": [40, 20], "b": [80, 80], "c": [0, 80]}
    kinds = {"a": "noise", "b": "noise", "c": "blur", "never run": "camera"}
    found = robustness(80, perturbed, kinds)
    assert found.by_perturbation == {"a": 0.375, "b": 1.0, "c": 0.5}
    assert found.by_category == {"noise": 0.6875, "blur": 0.5}
    assert found.macro == pytest.approx(0.59375)
    assert found.micro == pytest.approx(0.625)
    assert found.perturbations == 3
    assert robustness(80, perturbed, kinds, kind="absolute").micro == pytest.approx(0.7)
    assert nan(robustness(80, {}, kinds).micro)
    assert nan(robustness(0, perturbed, kinds).micro)


def test_mean_performance_is_micro_gamma_times_clean():
    perturbed = np.array([[40.0, 20.0], [80.0, 80.0]])
    assert mean_performance(perturbed) == 55
    assert relative_performance(80, perturbed) == pytest.approx(55 / 80)
    by_name = {"a": perturbed[0].tolist(), "b": perturbed[1].tolist()}
    micro = robustness(80, by_name, {"a": "x", "b": "x"}).micro
    assert relative_performance(80, perturbed) == pytest.approx(micro)
    assert nan(relative_performance(0, perturbed))


def test_corruption_errors_of_the_baseline_are_one():
    perturbed = np.array([[70.0, 50.0], [60.0, 60.0]])
    assert corruption_error(perturbed, perturbed).tolist() == [1, 1]
    twice = 100 - 2 * (100 - perturbed)
    assert corruption_error(twice, perturbed).tolist() == [2, 2]
    assert relative_corruption_error(80, perturbed, 80, perturbed).tolist() == [1, 1]
    assert np.isnan(corruption_error(perturbed, np.full((2, 2), 100.0))).all()
    assert np.isnan(relative_corruption_error(80, perturbed, 50, perturbed)[1])


def test_worst_cases():
    gamma = np.array([[0.9, 0.1], [0.4, 0.4]])
    assert worst_perturbation(gamma) == pytest.approx(0.4)
    assert worst_condition(gamma) == pytest.approx(0.1)
    assert value_at_risk(np.arange(10), share=0.2) == 0.5
    assert value_at_risk([3.0]) == 3
    assert value_at_risk(np.arange(90)) == pytest.approx(np.arange(18).mean())
    assert nan(value_at_risk([]))


def test_curves_over_severity():
    assert area_under_severity(80, [80] * 5) == 1
    assert area_under_severity(80, [0] * 5) == pytest.approx(0.1)
    assert nan(area_under_severity(0, [1, 2]))
    assert severity_to_half(80, [60, 20]) == pytest.approx(1.5)
    assert severity_to_half(80, [40, 20]) == 1
    assert severity_to_half(80, [70, 60]) == math.inf
    assert nan(severity_to_half(0, [0]))


# ---------------------------------------------------------------------- effective robustness
def test_models_on_the_line_have_no_effective_robustness():
    clean = np.array([0.3, 0.5, 0.7, 0.9])
    line = AccuracyLine(0.8, -0.5, 1.0, 4)
    shifted = line.expected(clean)
    fitted = accuracy_line(clean, shifted)
    assert fitted.slope == pytest.approx(0.8)
    assert fitted.intercept == pytest.approx(-0.5)
    assert fitted.r2 == pytest.approx(1)
    assert np.allclose(effective_robustness(clean, shifted, fitted), 0)
    assert np.allclose(leave_one_out_robustness(clean, shifted), 0)
    lifted = shifted + np.array([0, 0.1, 0, 0])
    assert leave_one_out_robustness(clean, lifted)[1] == pytest.approx(0.1)


def test_too_few_models_give_no_line():
    assert nan(accuracy_line([0.3, 0.5], [0.2, 0.4]).slope)
    assert nan(accuracy_line([0.5] * 4, [0.2, 0.3, 0.4, 0.5]).slope)
    assert np.isnan(leave_one_out_robustness([0.3, 0.5, 0.7], [0.2, 0.4, 0.5])).all()
    assert np.isfinite(accuracy_line([0, 0.5, 1], [0, 0.4, 1]).slope)


# ------------------------------------------------------------------------------- consistency
def test_flips_by_hand():
    clean, other, labels = [0, 1, 2, 2], [0, 2, 2, 1], [0, 1, 2, 1]
    assert consistency(clean, other) == 0.5
    assert flip_rate(clean, other) == 0.5
    assert resist_rate(clean, other, labels) == pytest.approx(2 / 3)
    assert temporal_sensitivity(clean, other, labels) == pytest.approx(1 / 3)
    assert nan(resist_rate([1], [0], [0]))
    assert nan(consistency([], []))
    sequences = [[0, 0, 1, 1], [2, 3, 2, 3]]
    assert flip_probability(sequences) == pytest.approx(4 / 6)
    assert flip_probability(sequences, against="first") == pytest.approx(4 / 6)
    assert flip_probability([[0, 1, 1]], against="first") == 1
    assert flip_probability([[0, 1, 1]]) == 0.5


def test_rank_distances():
    best_first = np.array([6.0, 5, 4, 3, 2, 1])
    swapped = np.array([5.0, 6, 4, 3, 2, 1])
    same = np.stack([best_first, best_first * 2, best_first - 9])[None]
    assert rank_distance(same) == 0
    assert rank_distance(same, kind="top5") == 0
    pair = np.stack([best_first, swapped])[None]
    assert rank_distance(pair) == pytest.approx(0.5 + 0.5 / 2)
    assert rank_distance(pair, kind="top5") == 2
    # from the first frame's point of view only which class is where counts
    shuffled = pair[..., np.array([3, 0, 5, 1, 4, 2])]
    assert rank_distance(shuffled) == pytest.approx(0.75)
    long = np.stack([best_first, swapped, swapped])[None]
    assert rank_distance(long) == pytest.approx(0.375)
    assert rank_distance(long, against="first") == pytest.approx(0.75)


def test_representation_shift():
    a = np.eye(4)
    assert representation_shift(a, 3 * a) == pytest.approx((0, 0))
    assert representation_shift(a, -a) == pytest.approx((2, 2))
    assert all(map(nan, representation_shift(np.zeros((0, 4)), np.zeros((0, 4)))))


# ------------------------------------------------------------------------------- calibration
def test_a_calibrated_model_has_no_error():
    probabilities = np.repeat([[0.75, 0.25]], 8, axis=0)
    labels = np.array([0, 0, 0, 1] * 2)
    found = calibration(probabilities, labels, bins=1)
    assert found.ece == found.mce == found.adaptive_ece == found.rms == pytest.approx(0)
    assert found.nll == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert found.brier == pytest.approx(0.75 * 2 * 0.25**2 + 0.25 * 2 * 0.75**2)


def test_an_overconfident_model_is_off_by_its_excess():
    probabilities = np.array([[1.0, 0.0]] * 4)
    found = calibration(probabilities, [0, 1, 0, 1], bins=1)
    assert found.ece == found.mce == found.adaptive_ece == found.rms == 0.5
    assert found.nll == math.inf
    assert found.brier == 1


def test_bins_are_closed_on_the_right():
    probabilities = np.array([[0.5, 0.5], [0.5000001, 0.4999999]])
    found = calibration(probabilities, [0, 1], bins=2)
    assert found.mce == pytest.approx(0.5)
    assert found.ece == pytest.approx(0.5)


def test_nothing_to_calibrate_is_nan():
    found = calibration(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert nan(found.ece)
    assert nan(found.nll)
