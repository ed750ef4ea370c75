"""Outcomes of classification from what was predicted, for tests that make up records."""

from __future__ import annotations

import numpy as np

from sweep.records.outcomes import Outcomes


def classified(*, ids, labels, predictions, clip_sets=None, rows=None, confidence=None):
    """As the task gives them: a clip is right where its prediction is its label."""
    sets = clip_sets or dict.fromkeys(predictions, "clean")
    rows = rows or {}
    right = {}
    for condition, found in predictions.items():
        truth = np.asarray(labels[sets[condition]])
        right[condition] = np.asarray(found) == truth[rows.get(condition, np.arange(len(truth)))]
    kept = {"labels": labels, "predictions": predictions}
    if confidence:
        kept["confidence"] = confidence
    return Outcomes(ids=ids, clip_sets=sets, values={"top1": right}, rows=rows, kept=kept)


def predicting(table, predictions, *, rows=None):
    """The same clips and labels with other predictions."""
    return classified(
        ids=table.ids,
        labels=table.labels,
        predictions=predictions,
        clip_sets=table.clip_sets,
        rows=table.rows if rows is None else rows,
        confidence=table.confidence,
    )


def as_schema_1(content):
    """The JSON of a record of classification as the first programs wrote it."""
    rows = [
        {"accuracy": row["metrics"]["top1"]}
        | {k: row[k] for k in ("condition", "category", "clips", "level", "pixels")}
        for row in content["scores"]
    ]
    kept = {name: value for name, value in content.items() if name != "task"}
    return kept | {"scores": rows, "schema_version": 1}
