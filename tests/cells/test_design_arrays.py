"""Orthogonal arrays and sampled orders: the algebra that the analysis relies on."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from sweep.cells.designs import arrays, permutations
from sweep.cells.resolve import loss_sets
from sweep.settings.design import DesignSettings
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FRACTIONS = [(k, r) for r, rows in arrays.FRACTIONS.items() for k in rows]
#: Auxiliary losses that the model `tiny` can run.
EXTRA = (
    "masked_frame", "masked_text", "latent_prediction", "variance_covariance", "delta",
)  # fmt: skip


def names(count):
    return tuple(f"loss{i:02d}" for i in range(count))


def effects(rows):
    """Columns of all losses and all interactions of two."""
    x = np.array(rows)
    pairs = itertools.combinations(range(x.shape[1]), 2)
    return x, np.stack([x[:, a] * x[:, b] for a, b in pairs], axis=1)


def orthogonal(x, n):
    return np.array_equal(x.T @ x, n * np.eye(x.shape[1], dtype=int))


@pytest.mark.parametrize(("losses", "resolution"), FRACTIONS)
def test_fractions_have_their_resolution(losses, resolution):
    rows = arrays.fraction(losses, resolution)
    mains, pairs = effects(rows)
    n = len(rows)
    assert n == 2 ** arrays.FRACTIONS[resolution][losses][0]
    assert len(set(rows)) == n
    assert (mains.sum(axis=0) == 0).all()
    assert orthogonal(mains, n)
    assert not (mains.T @ pairs).any()
    if resolution == 5:
        assert orthogonal(pairs, n)


@pytest.mark.parametrize("losses", range(4, 32))
def test_plackett_burman_is_orthogonal_and_fold_over_clears_the_losses(losses):
    rows = arrays.screening(losses)
    n = len(rows)
    assert losses < n <= max(8, losses + 12)
    mains, _ = effects(rows)
    assert orthogonal(mains, n)
    assert (mains.sum(axis=0) == 0).all()
    folded = arrays.screening(losses, fold_over=True)
    assert folded[:n] == rows
    assert Counter(folded) == Counter(tuple(-x for x in row) for row in folded)
    mains, pairs = effects(folded)
    assert orthogonal(mains, 2 * n)
    assert not (mains.T @ pairs).any()


def test_unfolded_screening_aliases_as_published():
    # 8 rows for 7 losses: every loss is wholly aliased with three interactions of two
    full = arrays.screening_array(names(7), DesignSettings())
    shares = [s for (one, _), s in arrays.overlaps(full, names(7)).items() if len(one) == 1]
    assert len(shares) == 7 * 3
    assert set(np.abs(shares)) == {1}
    # 12 rows: a third of every interaction that does not contain the loss
    partial = arrays.screening_array(names(11), DesignSettings())
    found = arrays.overlaps(partial, names(11))
    shares = {pair: s for pair, s in found.items() if len(pair[0]) == 1}
    assert len(shares) == 11 * 45
    assert np.allclose(np.abs([*shares.values()]), 1 / 3)
    assert not any(one[0] in two for one, two in shares)


def test_aliases_are_said_in_words():
    def words(count, array, **settings):
        return " ".join(
            arrays.aliases(array(names(count), DesignSettings(**settings)), names(count))
        )

    five = words(5, arrays.fractional_array, resolution=5)
    assert "clear of all interactions" in five
    assert "clear of each other" in five
    four = words(6, arrays.fractional_array)
    assert "clear of all interactions" in four
    assert four.count(" × ") == 15  # in seven groups
    assert four.count(" = ") == 15 - 7
    three = words(7, arrays.screening_array)
    assert "The effect of loss00 contains " in three
    assert "±0.33" in words(9, arrays.screening_array)


@pytest.mark.parametrize("losses", [5, 6, 7, 8])
def test_interactions_are_clear_at_resolution_five_only(losses):
    clear = [
        arrays.clear_interactions(
            arrays.fractional_array(names(losses), DesignSettings(resolution=r)), names(losses)
        )
        for r in (4, 5)
    ]
    assert clear[1] == list(itertools.combinations(names(losses), 2))
    assert len(clear[0]) < len(clear[1]) or losses == 5  # 16 cells of five losses have both


@pytest.mark.parametrize(
    ("kind", "losses", "options", "message"),
    [
        ("fractional", 3, {}, r"4 to 16 losses, given 3; use design.kind=factorial"),
        ("fractional", 9, {"resolution": 5}, r"5 to 8 losses, given 9; .*design.resolution=4"),
        ("plackett_burman", 3, {}, r"no screening: use design.kind=factorial \(8 cells\)"),
    ],
)
def test_losses_that_do_not_fit_are_refused_with_advice(kind, losses, options, message):
    removed = ["losses.pixel=null"] if losses == 3 else [f"losses.{n}.weight=1" for n in EXTRA]
    given = [f"design.{key}={value}" for key, value in options.items()]
    with pytest.raises(ConfigError, match=message):
        loss_sets(load_study("quickstart", overrides=[f"design.kind={kind}", *removed, *given]))


@pytest.mark.parametrize("losses", [4, 5, 8])
def test_orders_are_antithetic_and_all_prefixes_are_cells(losses):
    settings = DesignSettings(kind="shapley", permutations=6, seed=3)
    drawn = permutations.orders(names(losses), settings)
    assert len(drawn) == 6
    sets = set(permutations.shapley(names(losses), settings).values())
    for forwards, backwards in drawn:
        assert forwards == backwards[::-1]
        assert tuple(sorted(forwards)) == names(losses)
        for order in (forwards, backwards):
            assert set(permutations.prefixes(order)) <= sets
    assert len(sets) <= 2 * 6 * (losses - 1) + 2


@pytest.mark.parametrize("kind", ["fractional", "plackett_burman", "shapley", "count"])
def test_the_design_seed_alone_decides_the_draw(kind):
    def drawn(seed):
        extra = [f"losses.{name}.weight=1" for name in EXTRA]
        given = [f"design.kind={kind}", f"design.seed={seed}", "design.permutations=3", *extra]
        return loss_sets(load_study("quickstart", overrides=given))

    assert drawn(5) == drawn(5)
    assert any(drawn(5) != drawn(seed) for seed in (6, 7, 8))
