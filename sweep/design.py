"""Which loss sets become cells: a study's design spelled out as resolved trials.

A *cell* is a loss set under a combiner; every cell runs once per seed, and seed s fixes the
initialisation, the data order and the perturbation draws in every cell alike (common random
numbers), so cells are compared paired by seed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from losses.catalogue import COMBINERS, LOSSES
from sweep.config import (
    MAX_TRIAL_JSON_BYTES,
    CombinerSettings,
    ConfigError,
    LossSettings,
    StudyConfig,
    TrialConfig,
)

#: A factorial beyond this many cells is refused; screening designs exist for more losses.
MAX_FACTORIAL_CELLS = 128

LossSet = tuple[str, ...]


def loss_sets(study: StudyConfig) -> dict[str, LossSet]:
    """Label -> loss set, anchors (`none`, `all`) first, each distinct set once.

    Raises:
        ConfigError: if the design does not fit the number of losses.
    """
    names = tuple(sorted(study.losses))
    design = study.design
    sets: dict[str, LossSet] = {"none": ()}
    if names:
        sets["all"] = names
    if design.kind == "loo" and len(names) > 1:
        sets |= {f"all - {name}": tuple(n for n in names if n != name) for name in names}
    elif design.kind == "factorial":
        if 2 ** len(names) > MAX_FACTORIAL_CELLS:
            raise ConfigError(
                f"design factorial: {len(names)} losses make {2 ** len(names)} cells, the limit is "
                f"{MAX_FACTORIAL_CELLS}; use design.kind=loo or count"
            )
        for size in range(1, len(names)):
            sets |= {_label(subset): subset for subset in itertools.combinations(names, size)}
    elif design.kind == "count":
        sets |= _count_sets(names, design.counts, design.subsets_per_count, design.seed)
    for listed in design.sets:
        subset = tuple(sorted(set(listed)))
        sets.setdefault(_label(subset), subset)
    distinct: dict[LossSet, str] = {}
    for label, subset in sets.items():
        distinct.setdefault(subset, label)
    return {label: subset for subset, label in distinct.items()}


def _label(subset: LossSet) -> str:
    return "+".join(subset) or "none"


def _count_sets(
    names: LossSet, counts: Sequence[int] | None, per_count: int, seed: int
) -> dict[str, LossSet]:
    """Random subsets of each size with balanced membership; sizes 0, 1, K-1 and K exhaustive."""
    total = len(names)
    sizes = list(range(total + 1)) if counts is None else sorted(set(counts))
    for size in sizes:
        if not 0 <= size <= total:
            raise ConfigError(f"design.counts: sizes are 0..{total}, given {size}")
    rng = random.Random(seed)
    sets: dict[str, LossSet] = {}
    for size in sizes:
        every = list(itertools.combinations(names, size))
        if size in {0, 1, total - 1, total} or len(every) <= per_count:
            chosen = every
        else:
            chosen = _balanced(every, names, per_count, rng)
        sets |= {f"k={size}: {_label(subset)}": subset for subset in chosen}
    return sets


def _balanced(
    every: list[LossSet], names: LossSet, wanted: int, rng: random.Random
) -> list[LossSet]:
    """``wanted`` distinct subsets in which every name occurs as equally often as possible."""
    uses = dict.fromkeys(names, 0)
    left = every[:]
    rng.shuffle(left)
    chosen = []
    for _ in range(wanted):
        best = min(left, key=lambda subset: sorted((uses[n] for n in subset), reverse=True))
        left.remove(best)
        chosen.append(best)
        for name in best:
            uses[name] += 1
    return chosen


def cells(study: StudyConfig, fingerprint: str = "") -> list[TrialConfig]:
    """Every planned trial, seed by seed; trials of equal content appear once.

    A design of kind `search` plans its anchors only: the rest is suggested while it runs.
    """
    planned: dict[str, TrialConfig] = {}
    several = len(study.combiners) > 1
    for seed in study.seed_list:
        for label, subset in loss_sets(study).items():
            for combiner, knobs in study.combiners.items():
                trial = resolve(
                    study,
                    {name: study.losses[name] for name in subset},
                    CombinerSettings(name=combiner, knobs=dict(knobs or {})),
                    label=f"{label} [{combiner}]" if several and subset else label,
                    seed=seed,
                    fingerprint=fingerprint,
                )
                planned.setdefault(trial.key, trial)
    return list(planned.values())


def resolve(
    study: StudyConfig,
    losses: dict[str, LossSettings],
    combiner: CombinerSettings,
    *,
    label: str,
    seed: int,
    fingerprint: str = "",
) -> TrialConfig:
    """One trial in normal form: equal content gives an equal key.

    Losses are sorted by name; a loss of weight 0 is absent; weights are 1 for a combiner that does
    not use them; without auxiliary losses there is nothing to combine.
    """
    chosen: dict[str, LossSettings] = {}
    for name in sorted(losses):
        given = losses[name]
        weight = LOSSES[name].default_weight if given.weight is None else given.weight
        if not COMBINERS[combiner.name].uses_weights:
            weight = 1.0
        if weight > 0:
            knobs = {**LOSSES[name].knobs, **given.knobs}
            chosen[name] = LossSettings(weight=float(f"{weight:.6g}"), knobs=knobs)
    trial = TrialConfig(
        study=study.name,
        label=label,
        losses=chosen,
        combiner=combiner if chosen else CombinerSettings(),
        model=study.model,
        data=study.data,
        fingerprint=fingerprint,
        train=study.train,
        evaluate=study.evaluate,
        seed=seed,
    )
    size = len(trial.model_dump_json())
    if size > MAX_TRIAL_JSON_BYTES:
        raise ConfigError(
            f"a trial of '{study.name}' has {size} bytes of config (limit {MAX_TRIAL_JSON_BYTES}): "
            "put data into files"
        )
    return trial
