"""Two ranks that share each batch find what one process finds: losses, slopes, weights, record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sweep.records.record import comparable
from tests.conftest import SMALL
from tests.runtime import rank_worker

SCRIPT = Path(__file__).with_name("rank_worker.py")
ROOT = SCRIPT.parents[2]
RANKS = 2
TRAINED = ["train.steps=2", "train.log_every=1"]
MORE_LOSSES = [
    f"losses.{name}.weight=0.3"
    for name in (
        "caption", "latent_prediction", "masked_frame", "masked_text", "siglip", "spectral",
        "temporal_contrast", "variance_covariance",
    )
]  # fmt: skip
#: One of each way in which a combiner looks at losses and gradients, and a trial as users run it.
CASES = {
    "losses": ["combiners={uncertainty: {}}", *MORE_LOSSES, *TRAINED],
    "gradients": ["combiners={gradnorm: {}}", *TRAINED],
    "all gradients": ["combiners={mgda: {level: full}}", *TRAINED],
    "second look": ["combiners={famo: {}}", *TRAINED],
    "meta": ["combiners={meltr: {interval: 1}}", *TRAINED],
    "meta holdout": ["combiners={meta_mlp: {data: holdout, method: auto}}", *TRAINED],
    "trial": ["combiners={meltr: {}}", *MORE_LOSSES, "train.steps=4", "train.validate_every=2"],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Case -> results: `one` of one process, `two` of the ranks in order."""
    folder = tmp_path_factory.mktemp("ranks")
    cases = {name: [*SMALL, *overrides] for name, overrides in CASES.items()}
    (folder / "cases.json").write_text(json.dumps(cases))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), str(rank), str(RANKS)],
            env=environment, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    try:
        rank_worker.main(folder, 0, 1)
        errors = [process.communicate()[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [p.returncode for p in processes] == [0] * RANKS, "\n".join(errors)
    one = torch.load(folder / "1-0.pt", weights_only=False)
    ranks = [torch.load(folder / f"{RANKS}-{r}.pt", weights_only=False) for r in range(RANKS)]
    return {name: (one[name], [rank[name] for rank in ranks]) for name in CASES}


def leaves(content, path=""):
    """Path -> number or tensor of nested dicts and lists."""
    if isinstance(content, dict):
        return {k: v for name, c in content.items() for k, v in leaves(c, f"{path}/{name}").items()}
    if isinstance(content, (list, tuple)):
        return {k: v for i, c in enumerate(content) for k, v in leaves(c, f"{path}/{i}").items()}
    return {path: torch.as_tensor(content)}


@pytest.mark.parametrize("case", [name for name in CASES if name != "trial"])
def test_ranks_train_as_one_process(found, case):
    """In float64; what is left are losses rounded to float32 on their way to the combiner."""
    one, ranks = found[case]
    expected, result = leaves(one), leaves(ranks[0])
    assert expected.keys() == result.keys()
    assert len(one["history"]) == 2
    for path, value in expected.items():
        torch.testing.assert_close(
            result[path],
            value,
            rtol=1e-5,
            atol=1e-6,
            check_dtype=False,
            msg=lambda m, p=path: p + m,
        )


@pytest.mark.parametrize("case", [name for name in CASES if name != "trial"])
def test_ranks_stay_equal_bit_by_bit(found, case):
    _, (first, second) = found[case]
    other = leaves({part: second[part] for part in ("learner", "combiner")})
    for path, value in leaves({part: first[part] for part in ("learner", "combiner")}).items():
        assert torch.equal(value, other[path]), path


def test_a_trial_of_ranks_leaves_the_record_of_one_process(found):
    one, ranks = found["trial"]
    assert [rank["record"]["run"]["ranks"] for rank in ranks] == [RANKS, RANKS]
    assert one["record"]["run"]["ranks"] == 1
    for rank in ranks:
        assert rank["record"]["key"] == one["record"]["key"]
        assert rank["record"]["forwards"] == one["record"]["forwards"]
        assert rank["record"]["status"] == "done"
        pairs = zip(rank["record"]["scores"], one["record"]["scores"], strict=True)
        for mine, expected in pairs:
            assert {k: mine[k] for k in ("condition", "clips", "pixels")} == {
                k: expected[k] for k in ("condition", "clips", "pixels")
            }
            # 16 clips: a clip between two classes may fall on the other side in float32
            assert abs(mine["metrics"]["top1"] - expected["metrics"]["top1"]) <= 100 / 16
        assert rank["record"]["weights"] == pytest.approx(one["record"]["weights"], rel=1e-3)
        assert rank["record"]["final"]["cross_entropy"] == pytest.approx(
            one["record"]["final"]["cross_entropy"], rel=1e-3
        )
    first, second = (comparable(rank["record"]) for rank in ranks)
    assert first == second
