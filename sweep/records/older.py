"""Records and outcomes as earlier programs wrote them, in the form of today.

Schema 1 and 2 had one `accuracy` per condition, and `retrieval` beside it where videos were
ranked; outcomes kept predictions and ranks, and what follows from them was worked out by readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.records.condition import Condition

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

_RECALLS = tuple(f"{direction}_R{cut}" for direction in ("t2v", "v2t") for cut in (1, 5, 10))


def record(content: Mapping[str, Any]) -> dict[str, Any]:
    """A record of schema 1 or 2 in schema 3."""
    rows = content.get("scores", ())
    ranked = any(row.get("retrieval") for row in rows)
    task = ("retrieval" if ranked else "classification") if rows else ""
    return {**content, "scores": [_score(row) for row in rows], "task": task, "schema_version": 3}


def _score(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in row if name not in {"accuracy", "retrieval"}}
    ranks = row.get("retrieval")
    tested = Condition.parse(row["condition"])
    return {
        **kept,
        "metrics": {"t2v_R1": row["accuracy"], **ranks} if ranks else {"top1": row["accuracy"]},
        "perturbation": tested.perturbation,
        "severity": tested.level,
        "text": tested.text,
        "clip_set": tested.clips,
    }


def outcomes(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of an `outcomes.npz` before schema 3, by the names of today."""
    import numpy as np

    from sweep.metrics.retrieval import found_by_owner

    names = [str(name) for name in arrays["conditions"]]
    sets = dict(zip(names, map(str, arrays["clips"]), strict=True))
    found: dict[str, np.ndarray] = {"clip_sets": np.asarray([*sets.items()], dtype=np.str_)}
    for name, array in arrays.items():
        family, _, rest = name.partition("/")
        if family in {"ids", "rows"}:
            found[name] = array
        elif family == "ranks":
            direction, _, condition = rest.partition(":")
            found[f"kept/{direction}_rank/{condition}"] = array
        elif rest:
            found[f"kept/{name}"] = array
    for condition, clips in sets.items():
        labels = arrays[f"labels/{clips}"]
        if f"ranks/t2v:{condition}" not in arrays:
            tested = arrays.get(f"rows/{condition}", np.arange(len(labels)))
            right = arrays[f"predictions/{condition}"] == labels[tested]
            found[f"values/top1/{condition}"] = right
            continue
        for metric in _RECALLS:
            direction, _, cut = metric.partition("_R")
            hits = arrays[f"ranks/{direction}:{condition}"] < int(cut)
            owners = arrays.get(f"queries/{clips}") if direction == "t2v" else None
            if owners is not None:
                hits = found_by_owner(hits, owners, len(labels))
            found[f"values/{metric}/{condition}"] = hits
    return found
