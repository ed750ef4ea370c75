"""Whether two records were tested on the same pixels, and what made them if they were not.

Records keep a hash of what was tested under each condition. Another version of a library, or
another processor, may make other clips of the same recipe: scores under a condition compare only
where the hashes are equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sweep.settings.section import keyed
from sweep.settings.trial import TrialConfig

if TYPE_CHECKING:
    from sweep.records.record import TrialRecord

#: What decodes, perturbs and codes clips; a record's `run.versions` holds them.
LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "opencv-python-headless", "av", "decord")


def recipe(record: TrialRecord) -> str:
    """Digest of what the tested pixels are made from; records that share it ought to share them."""
    config = keyed(TrialConfig, record.config)
    content = [config.get(part) for part in ("fingerprint", "model", "evaluate")]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def differing(one: TrialRecord, two: TrialRecord) -> list[str]:
    """Conditions of both whose pixels are known and not equal; none of other recipes."""
    if recipe(one) != recipe(two):
        return []
    known = {score.condition: score.pixels for score in one.scores if score.pixels}
    return [
        score.condition
        for score in two.scores
        if score.pixels and known.get(score.condition, score.pixels) != score.pixels
    ]


def conflict(record: TrialRecord, others: Iterable[TrialRecord]) -> tuple[list[str], str]:
    """Conditions under which a record was tested on other pixels than one of others, and why.

    Returns:
        The conditions of the first such record, and what made both: `torch 2.11.0 against torch
        2.15.0`; an empty list and "" if there is none.
    """
    for other in others:
        found = differing(record, other)
        if found:
            here, there = apart([[record], [other]])
            return found, f"{here} against {there}"
    return [], ""


def apart(groups: Sequence[Sequence[TrialRecord]]) -> list[str]:
    """For each group of records what made its pixels, as far as the groups differ in it.

    Libraries first; where all are equal, device and host.
    """
    for names in (LIBRARIES, ("device", "host")):
        made = [{name: _values(group, name) for name in names} for group in groups]
        telling = [n for n in names if any(m[n] != made[0][n] for m in made)]
        if telling:
            return [
                ", ".join(f"{n} {'/'.join(one[n]) or 'not recorded'}" for n in telling)
                for one in made
            ]
    return ["the same libraries, device and host"] * len(groups)


def named(conditions: Sequence[str], most: int = 6) -> str:
    """Conditions as a list for people, cut after a few."""
    more = f" and {len(conditions) - most} more" if len(conditions) > most else ""
    return ", ".join(conditions[:most]) + more


def _values(group: Sequence[TrialRecord], name: str) -> tuple[str, ...]:
    def of(run: Mapping[str, object]) -> object:
        versions = run.get("versions")
        return (versions if isinstance(versions, Mapping) else {}).get(name, run.get(name))

    return tuple(sorted({str(v) for r in group if (v := of(r.run)) not in (None, "")}))
