"""Retrieval metrics against stored numbers of the published evaluations."""

from __future__ import annotations

from sweep.metrics.retrieval import (
    querybank_normalised,
    ranks,
    retrieval,
    sentence_owners,
    summary,
    video_to_group,
)

EXACT = {"rtol": 1e-9, "atol": 1e-10}
FLOAT32 = {"rtol": 1e-6}


def check_metrics(read) -> None:
    """Square cases in every treatment of ties; several sentences per video."""
    for case in (n.removesuffix("_sim") for n in read.names if n.endswith("_sim")):
        if case != "multi":
            _check_square(read, case)
    if "multi_sim" in read.names:
        _check_sentences(read)


def _check_square(read, case: str) -> None:
    scores = read.input(f"{case}_sim")
    places = ranks(scores, ties="reference")
    found, back = summary(places), retrieval(scores.T, ties="reference")
    for cut in (1, 5, 10):
        read.compare(f"{case}_vt_R{cut}", found.recall[cut], **EXACT)
    read.compare(f"{case}_vt_MR", found.median_rank, **EXACT)
    read.compare(f"{case}_vt_ctr", retrieval(scores, ties="optimistic").recall[1], **EXACT)
    read.compare(f"{case}_gl_cols", places, **EXACT)
    for direction, ours in (("t2v", found), ("v2t", back)):
        for cut, value in ours.recall.items():
            read.compare(f"{case}_gl_{direction}_R{cut}", value, **EXACT)
        read.compare(f"{case}_gl_{direction}_MR", ours.median_rank, **EXACT)
        read.compare(f"{case}_gl_{direction}_MeanR", ours.mean_rank, **EXACT)
    for ties in ("optimistic", "average", "pessimistic"):
        read.compare(f"{case}_rank0_{ties}", ranks(scores, ties=ties), **EXACT)


def _check_sentences(read) -> None:
    scores = read.input("multi_sim")
    owners = sentence_owners(read.input("multi_sentences_per_video"))
    found = retrieval(scores, owners)
    for cut, value in found.recall.items():
        read.compare(f"multi_t2v_R{cut}", value, **FLOAT32)
    read.compare("multi_t2v_MedianR", found.lower_median_rank, **FLOAT32)
    read.compare("multi_t2v_MeanR", found.mean_rank, **FLOAT32)
    read.compare("multi_t2v_Std_Rank", found.rank_deviation, **FLOAT32)
    back = retrieval(video_to_group(scores, owners))
    for cut, value in back.recall.items():
        read.compare(f"multi_v2t_R{cut}", value, **EXACT)
    read.compare("multi_v2t_MR", back.median_rank, **EXACT)
    read.compare("multi_v2t_MeanR", back.mean_rank, **EXACT)


def check_qbnorm(read) -> None:
    """Scores after the correction."""
    for case in (n.removesuffix("_bank") for n in read.names if n.endswith("_bank")):
        k, beta, theta = (float(read.input(f"{case}_{n}")) for n in ("k", "beta", "theta"))
        ours = querybank_normalised(
            read.input(f"{case}_bank"),
            read.input(f"{case}_test"),
            k=int(k),
            beta=beta,
            theta=int(theta),
        )
        read.compare(f"{case}_out", ours, rtol=1e-10)


FORMATS = {"retrieval_metrics": check_metrics, "retrieval_qbnorm": check_qbnorm}
