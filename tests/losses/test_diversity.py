"""Diversity of loss sets and measures of representations: limits, invariances, bad input."""

import math

import numpy as np
import pytest

from losses import diversity
from losses.catalogue import LOSSES
from sweep.metrics import representation

RNG = np.random.default_rng(0)
COSINES = diversity.gradient_cosines(RNG.normal(size=(4, 30)))[0]
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.1])


def test_equal_orthogonal_and_opposite_losses():
    ones, eye = np.ones((4, 4)), np.eye(4)
    opposite = np.array([[1.0, -1.0], [-1.0, 1.0]])
    for c, vendi, distance, conflict in ((ones, 1, 0, 0), (eye, 4, 1, 0), (opposite, 1, 2, 1)):
        assert diversity.vendi(c) == pytest.approx(vendi)
        assert diversity.pair_distance(c) == pytest.approx(distance)
        assert diversity.conflict_rate(c) == conflict
    assert diversity.vendi(opposite, shifted=True) == pytest.approx(2)
    assert diversity.dpp_measures(eye)["dpp_volume"] == pytest.approx(1)
    volume = diversity.dpp_measures(ones)["dpp_volume"]
    assert volume == pytest.approx(math.sqrt(4) * 1e-6 ** (3 / 2), rel=1e-4)
    assert diversity.rao_q(eye, WEIGHTS) == pytest.approx(
        1 - (diversity.shares(WEIGHTS) ** 2).sum()
    )


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, math.inf])
def test_vendi_stays_between_one_and_k(order):
    score = diversity.vendi(COSINES, WEIGHTS, order=order)
    assert 1 <= score <= 4
    permuted = np.array([2, 0, 3, 1])
    again = diversity.vendi(COSINES[np.ix_(permuted, permuted)], WEIGHTS[permuted], order=order)
    assert again == pytest.approx(score)


def test_empty_and_single_sets():
    none = diversity.training_measures([], gradients=np.zeros((0, 5)), series=np.zeros((0, 6)))
    assert none.pop("gradient/dead") == 0
    assert all(math.isnan(value) for value in none.values())
    alone = diversity.training_measures([2.0], gradients=np.ones((1, 5)), series=np.ones((1, 6)))
    for kind in ("gradient", "trajectory"):
        assert alone[f"{kind}/vendi"] == pytest.approx(1)
        assert alone[f"{kind}/dpp_volume"] == pytest.approx(1)
        assert alone[f"{kind}/distance"] == alone[f"{kind}/conflict_rate"] == 0
        assert alone[f"{kind}/rao_q"] == pytest.approx(0)
    empty = diversity.set_measures([])
    assert empty.pop("losses") == empty.pop("families") == 0
    assert all(math.isnan(value) for value in empty.values())
    single = diversity.set_measures(["pixel"])
    assert single["weight_entropy"] == single["weight_entropy_norm"] == 0
    assert single["effective_number"] == pytest.approx(1)


def test_gradients_are_averaged_normalised_and_the_dead_are_left_out():
    g = RNG.normal(size=(3, 5, 20))
    g[:, 1] = 0
    g[:, 3, 0] = np.nan
    g[0, 4] = np.inf
    scale = 10.0 ** RNG.integers(-8, 200, size=(3, 5, 1))
    for scaled in (g, g * scale):
        cosines, alive = diversity.gradient_cosines(scaled)
        assert alive.tolist() == [True, False, True, False, True]
        pair = g[:, [0, 2]]
        mean = (pair / np.linalg.norm(pair, axis=-1, keepdims=True)).sum(0)
        expected = mean[0] @ mean[1] / np.linalg.norm(mean, axis=1).prod()
        assert cosines[0, 1] == pytest.approx(expected, rel=1e-9)
        assert (cosines.diagonal() == 1).all()
    found = diversity.training_measures(np.ones(5), gradients=g)
    assert found["gradient/dead"] == 2
    assert all(math.isfinite(value) for value in found.values())


def test_weights_that_are_zero_negative_or_not_finite():
    assert diversity.shares([0, 0]).tolist() == [0.5, 0.5]
    assert diversity.shares([-1, 3]).tolist() == [0.25, 0.75]
    assert diversity.shares([1, math.nan, math.inf]).tolist() == [1, 0, 0]
    assert diversity.shares([1e300, 1e300, 1e300])[0] == pytest.approx(1 / 3)
    assert diversity.pair_distance(COSINES, [1, 0, 0, 0]) == 0


def test_trajectories_know_speed_from_level():
    t = np.arange(9.0)
    course = np.exp(-np.sin(t))
    series = np.stack([course, 7 * course, np.full(9, 2.0), course**-1])
    c = diversity.trajectory_correlations(series)
    assert c[0, 1] == pytest.approx(1)
    assert c[0, 3] == pytest.approx(-1)
    assert (c[2, [0, 1, 3]] == 0).all()
    signed = diversity.trajectory_correlations(-series, positive=False)
    assert signed[0, 1] == pytest.approx(1)
    assert np.isfinite(diversity.trajectory_correlations(0 * series)).all()
    with pytest.raises(ValueError, match="at least 4 steps"):
        diversity.trajectory_correlations(series[:, :3])
    assert diversity.training_measures(np.ones(4), series=series[:, :3]) == {}


def test_set_measures_follow_the_catalogue():
    names = ["pixel", "delta", "infonce", "classification"]
    found = diversity.set_measures(names, {"pixel": 1.0, "delta": 1.0, "infonce": 2.0})
    assert found["losses"] == found["families"] == 3
    assert found["mean_level"] == pytest.approx((0 + 1 + 2 * 4) / 4)
    assert found["span_level"] == 4
    assert found["weight_entropy"] == pytest.approx(1.5 * math.log(2))
    assert found["family_entropy"] == pytest.approx(math.log(3))
    assert diversity.set_measures(LOSSES)["families"] <= 15
    with pytest.raises(ValueError, match="did you mean 'pixel'"):
        diversity.set_measures(["pixels"])


def test_distances_of_the_catalogue():
    apart = diversity.catalogue_distances(["infonce", "siglip", "masked_text", "pixel"])
    assert (apart == apart.T).all()
    assert (apart.diagonal() == 0).all()
    assert apart[0].tolist() == [0, 0, (1 + 3 / 4) / 2, 1]
    assert diversity.set_measures(["infonce", "siglip", "pixel"])[
        "catalogue_distance"
    ] == pytest.approx(2 / 3)


def test_cosines_and_signs_of_single_losses():
    cosines = np.full((3, 3), math.nan)
    cosines[:2, :2] = [[1, -0.5], [-0.5, 1]]
    found = diversity.training_measures(np.ones(3), cosines=cosines)
    assert found["gradient/dead"] == 1
    assert found["gradient/distance"] == pytest.approx(1.5)
    course = np.exp(np.sin(np.arange(9.0)))
    # a loss that may be negative is followed by plain changes, the others by those of logarithms
    c = diversity.trajectory_correlations(
        np.stack([course, np.log(course) - 5]), positive=[True, False]
    )
    assert c[0, 1] == pytest.approx(1)


def test_similarity_of_representations():
    x, other = RNG.normal(size=(40, 6)), RNG.normal(size=(40, 50))
    turned = 5 * x @ np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    for measure in (representation.linear_cka, representation.unbiased_cka):
        assert measure(x, turned) == pytest.approx(1)
        assert measure(x, other) == pytest.approx(measure(other, x))
    assert abs(representation.unbiased_cka(x, other)) < 0.15 < representation.linear_cka(x, other)
    assert math.isnan(representation.linear_cka(np.ones((5, 2)), x[:5]))
    assert math.isnan(representation.unbiased_cka(np.zeros((5, 2)), x[:5]))
    assert representation.mutual_knn(x, turned, 7) == 1
    assert representation.cknna(x, turned, 7) == pytest.approx(1, abs=1e-4)
    assert representation.mutual_knn(x, other, 39) == 1
    assert representation.alignment(x, 3 * x) == pytest.approx(0)
    assert representation.uniformity(np.ones((4, 3))) == pytest.approx(0)


def test_rank_and_spread_of_representations():
    x = RNG.normal(size=(400, 6))
    assert representation.rankme(x) == pytest.approx(6, rel=0.01)
    assert representation.rankme(np.zeros((5, 3))) == 1
    assert representation.effective_rank(np.ones((5, 3))) == 1
    assert representation.effective_rank(np.outer(np.arange(5.0), np.ones(3))) == pytest.approx(1)
    centres = 100 * RNG.normal(size=(50, 1, 6))
    assert 4.5 < representation.lidar(centres + RNG.normal(size=(50, 8, 6))) <= 6.01
    assert representation.feature_std(x) == pytest.approx(1, rel=0.05)
    assert representation.feature_std(np.ones((5, 4))) < representation.COLLAPSED_BELOW
    assert representation.video_text_alignment(np.eye(3), np.eye(3)) == pytest.approx(1)
    assert representation.modality_gap(x, x) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: representation.linear_cka(np.ones((3, 2)), np.ones((3, 2))), "at least 4"),
        (lambda: representation.linear_cka(np.ones((5, 2)), np.ones((4, 2))), "same samples"),
        (lambda: representation.mutual_knn(np.ones((5, 2)), np.ones((5, 2)), 5), r"in 1\.\.4"),
        (lambda: representation.cknna(np.ones((5, 2)), np.ones((5, 2)), 1), "at least 2"),
        (lambda: representation.rankme(np.array([[np.nan]])), "NaN"),
        (lambda: representation.lidar(np.ones((1, 3, 2))), "at least 2 clips"),
        (lambda: diversity.gradient_cosines(np.ones(3)), "gradients of shape"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
