"""Multi-block masks: sizes, disjoint lists, the published shares."""

import pytest
import torch

from losses.masks.blocks import PAIRS, BlockMasks, block_size, draw_block_masks

GRID = (8, 14, 14)


def drawn(settings, step=0, grid=GRID, batch=3, seed=5):
    return draw_block_masks(grid, batch, settings, step, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("grid", [GRID, (4, 4, 4), (1, 6, 9)])
def test_seen_and_predicted_are_disjoint_sorted_and_reproducible(name, grid):
    cells = grid[0] * grid[1] * grid[2]
    for settings in PAIRS[name]:
        for step in range(6):
            seen, predicted = drawn(settings, step, grid)
            again = drawn(settings, step, grid)
            assert torch.equal(seen, again[0])
            assert torch.equal(predicted, again[1])
            assert seen.shape[1] >= 1
            for a, b in zip(seen, predicted, strict=True):
                both = torch.cat((a, b))
                assert len(both.unique()) == len(both)
                assert 0 <= both.min() <= both.max() < cells
                assert (a.diff() > 0).all()
                assert (b.diff() > 0).all()
            if settings.full_complement:
                assert seen.shape[1] + predicted.shape[1] == cells
            if name == "future" and grid[0] > 1:
                assert (seen // (grid[1] * grid[2])).max() < grid[0] // 2


@pytest.mark.parametrize(("index", "seen", "predicted"), [(0, 0.296, 0.556), (1, 0.111, 0.743)])
def test_the_standard_pair_leaves_the_published_shares(index, seen, predicted):
    cells = GRID[0] * GRID[1] * GRID[2]
    rng = torch.Generator().manual_seed(0)
    pairs = [draw_block_masks(GRID, 4, PAIRS["standard"][index], s, rng) for s in range(60)]
    for part, mean, spread in ((0, seen, 0.055), (1, predicted, 0.053)):
        shares = torch.tensor([pair[part].shape[1] / cells for pair in pairs])
        assert shares.mean().item() == pytest.approx(mean, abs=6 * spread / 60**0.5)


def test_blocks_that_cover_everything_leave_one_cell():
    seen, predicted = drawn(BlockMasks(blocks=1, spatial=(1.0, 1.0), aspect=(1.0, 1.0)))
    assert seen.shape == (3, 1)
    assert predicted.shape[1] == 8 * 14 * 14 - 1


def test_a_block_has_at_least_one_cell_and_a_limit_cuts_what_is_seen():
    assert block_size((2, 3, 3), BlockMasks(blocks=1, spatial=(0.01, 0.01)), 4) == (2, 1, 1)
    assert drawn(BlockMasks(blocks=1, spatial=(0.1, 0.1), max_keep=7))[0].shape == (3, 7)
