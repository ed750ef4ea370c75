"""Sections on what is absent and on the protocol: data, budget, severities, cost, provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from losses.combine.catalogue import ignored_weights
from sweep.data.overlap import describe_shared
from sweep.records.equal import in_words
from sweep.report.evidence import Evidence, severity
from sweep.report.names import DAGGER
from sweep.report.page import Entry, Figure, Section, Table, Text, number, seconds, thousands

if TYPE_CHECKING:
    from sweep.records.record import TrialRecord
    from sweep.report.findings import Findings


def absence_section(found: Findings, excluded: Sequence[Mapping[str, str]]) -> Section:
    """Failed, missing and untrained runs, and clips that were left out."""
    evidence = found.evidence
    blocks: list[Text | Table | Figure] = []
    rows: list[list[Entry | str]] = [
        [
            f"{cell.name} {DAGGER}",
            str(seed),
            number(float(cell.records[seed].final.get("cross_entropy") or math.nan), 2),
            number(cell.records[seed].accuracy.get("clean", math.nan)),
            Entry(text=cell.keys[seed], tone="code"),
        ]
        for cell in evidence.cells
        for seed in cell.untrained
    ]
    if rows:
        blocks.append(
            Table(
                columns=["cell", "seed", "final cross-entropy", "clean accuracy, %", "key"],
                rows=rows,
                caption=f"Did not train: {_above(evidence)}. The runs stay in every number.",
                numeric=False,
            )
        )
    else:
        blocks.append(Text(text="Every finished run trained."))
    if evidence.missing:
        blocks.append(
            Table(
                columns=["cell", "seed", "state", "reason", "key"],
                rows=[
                    [m.name, str(m.seed), m.state, m.reason[:300], Entry(text=m.key, tone="code")]
                    for m in evidence.missing
                ],
                caption="Planned or started cells without a result.",
                csv="missing.csv",
                numeric=False,
            )
        )
    else:
        blocks.append(Text(text="Every planned cell finished."))
    if excluded:
        shown = list(excluded)[:20]
        blocks.append(
            Table(
                columns=["split", "clip", "reason"],
                rows=[[row["split"], row["id"], row["reason"]] for row in shown],
                caption=f"Excluded clips: {len(excluded)}"
                + (f", the first {len(shown)} shown." if len(shown) < len(excluded) else "."),
                csv="excluded.csv",
                numeric=False,
            )
        )
    else:
        blocks.append(Text(text="No clip was excluded."))
    counts = (evidence.records[0].data.get("counts") or {}) if evidence.records else {}
    if shared := describe_shared(counts):
        text = f"Shared with training: {shared}. Accuracy on clips that were trained on is no test."
        blocks.append(Text(text=text))
    return Section(title="What is flagged, failed or missing", blocks=blocks)


def _above(evidence: Evidence) -> str:
    """The threshold of the flag `did not train`, or the rule and the numbers that it gave."""
    low, high = evidence.trained_below
    if not evidence.trained_rule:
        return f"final training cross-entropy above {low:g}"
    values = number(low, 2) if low == high else f"{number(low, 2)} to {number(high, 2)}"
    return f"final primary loss above {evidence.trained_rule} ({values})"


def protocol_section(found: Findings) -> Section:
    """Data, model, budget, severities, cost."""
    evidence = found.evidence
    study = evidence.study
    data, train = study.get("data", {}), study.get("train", {})
    evaluate, model = study.get("evaluate", {}), study.get("model", {})
    planned = evidence.plan.get("data") or {}
    record = evidence.records[0] if evidence.records else None
    counts = (record.data.get("counts") if record else None) or planned.get("counts") or {}
    fingerprint = (record.data.get("fingerprint") if record else "") or planned.get("fingerprint")
    labelled = data.get("labelled_per_class")
    rows = [
        ["study", f"{study.get('name', '')}, scale {study.get('scale', '')}"],
        [
            "design",
            f"{evidence.design}; {len(evidence.cells)} cells, seeds "
            f"{', '.join(map(str, sorted({s for c in evidence.cells for s in c.keys})))}",
        ],
        ["data set", f"{data.get('dataset', '')}; fingerprint {fingerprint or 'unknown'}"],
        ["labelled", f"{labelled} per class" if labelled else "all training clips"],
        ["clips used", _counts(counts)],
        [
            "model",
            _settings(model.get("name"), model.get("knobs"))
            + (
                f"; {thousands(record.final['parameters'])} parameters"
                if record and record.final.get("parameters")
                else ""
            ),
        ],
        [
            "losses",
            "; ".join(
                f"{n}: weight {_loss_weight(evidence, n, s)}" + _knobs(s)
                for n, s in (study.get("losses") or {}).items()
            )
            or "none",
        ],
        [
            "combiners",
            "; ".join(
                [
                    *(_settings(n, k) for n, k in (study.get("combiners") or {}).items()),
                    *ignored_weights(study.get("combiners") or {}, _weights(study)),
                ]
            ),
        ],
        [
            "training",
            f"{train.get('steps')} steps, batch {train.get('batch')} (labelled share "
            f"{train.get('labelled_share')}), lr {train.get('lr')}, weight decay "
            f"{train.get('weight_decay')}, label smoothing {train.get('label_smoothing')}",
        ],
        [
            "evaluation",
            f"{len(evidence.conditions)} conditions, severity ladder "
            f"{evaluate.get('ladder') or 'of the profile'}, profile "
            f"{evaluate.get('profile') or 'none'}, draws keyed by seed {evaluate.get('seed', 0)}",
        ],
        ["fidelity", fidelity_text(evidence)],
        ["selection", _selection(evidence, counts)],
    ]
    blocks: list[Text | Table | Figure] = [
        Table(
            columns=["", "setting"],
            rows=[r for r in rows if r[1]],
            numeric=False,
            caption="The resolved study is `sweep.yaml`.",
        ),
    ]
    blocks += [Text(text=text) for text in equal_text(evidence)]
    if evidence.levels:
        blocks.append(_severity_table(evidence))
    blocks.append(_cost_table(evidence))
    blocks.append(_provenance(evidence))
    return Section(title="Protocol", blocks=blocks)


def equal_text(evidence: Evidence) -> list[str]:
    """What of the conditions shows frames that were tested before; nothing where none does."""
    again = {name: one for name, one in evidence.equal.items() if not one.draws}
    drawn = {name: one for name, one in evidence.equal.items() if one.draws}
    texts = []
    if again:
        texts.append(
            f"Equal frames: {'; '.join(in_words(again))}. An outcome counts equal frames once, and "
            "those of the clean clips not beside others; so do the measures of robustness."
        )
    if drawn:
        texts.append(
            f"Equal strength, other draws: {'; '.join(in_words(drawn))}. They count as conditions "
            "of their own."
        )
    return texts


def fidelity_text(evidence: Evidence) -> str:
    """Which clips the perturbations were tested on."""
    about = evidence.fidelity
    if not about:
        return "full: every clip under every condition"
    return (
        f"{about['name']}: {about['clips_per_cell']} clips for each of {about['cells']} cells "
        "(perturbation and severity), the same in every run; clean clips and shifts whole; table "
        f"of the pairs {about['table']}"
    )


def _selection(evidence: Evidence, counts: Mapping[str, Any]) -> str:
    """What a search chose and stopped by; nothing where nothing was chosen."""
    if not evidence.row.picked:
        return ""
    search = evidence.study.get("search") or {}
    objective = search.get("objective") or evidence.headline[:1]
    names = [objective] if isinstance(objective, str) else list(objective)
    kept = counts.get("validation")
    where = "the test clips that are reported"
    if search.get("objective_on") == "validation" and kept:
        where = f"{kept['n_used']} validation clips; no test clip decides anything"
    text = f"configurations by {', '.join(names)} on {where}"
    if search.get("early_stopping"):
        by = f"{kept['n_used']} validation clips" if kept else "the clean ones of them"
        text += f"; trials stopped early by accuracy on {by}"
    return text


def _loss_weight(evidence: Evidence, name: str, settings: Mapping[str, Any] | None) -> str:
    weights = {c.weights[name] for c in evidence.finished if name in c.weights}
    known = sorted(w for w in weights if math.isfinite(w))
    if len(known) == 1:
        return f"{known[0]:g}"
    if known:
        return f"{known[0]:.3g} to {known[-1]:.3g}"
    weight = (settings or {}).get("weight")
    return "default" if weight is None else f"{weight:g}"


def _weights(study: Mapping[str, Any]) -> dict[str, float | None]:
    losses = study.get("losses") or {}
    return {name: (settings or {}).get("weight") for name, settings in losses.items()}


def _knobs(settings: Mapping[str, Any] | None) -> str:
    knobs = (settings or {}).get("knobs") or {}
    return f" ({', '.join(f'{k}={v}' for k, v in knobs.items())})" if knobs else ""


def _settings(name: Any, knobs: Mapping[str, Any] | None) -> str:
    inside = ", ".join(f"{k}={v}" for k, v in (knobs or {}).items())
    return f"{name} ({inside})" if inside else str(name or "")


def _counts(counts: Mapping[str, Any]) -> str:
    """Counts per split on one line; zero counts of trouble are left out."""
    parts = []
    for name, value in counts.items():
        if isinstance(value, Mapping):
            inside = ", ".join(
                f"{k.removeprefix('n_')} {v}"
                for k, v in value.items()
                if v or k in {"n_total", "n_used"}
            )
            parts.append(f"{name}: {inside}")
        else:
            parts.append(f"{str(name).removeprefix('n_')} {value}")
    return "; ".join(parts)


def _severity_table(evidence: Evidence) -> Table:
    steps = sorted({severity(c) for c in evidence.levels})
    rows = []
    for name, conditions in evidence.perturbations.items():
        by_step = {severity(c): evidence.levels.get(c, "") for c in conditions}
        if any(by_step.values()):
            category = evidence.categories[conditions[0]]
            rows.append([name, category, *(by_step.get(s, "") or "–" for s in steps)])
    return Table(
        columns=["perturbation", "category", *(f"severity {s}" for s in steps)],
        rows=rows,
        caption="Constants of the severities tested.",
        numeric=False,
    )


def _cost_table(evidence: Evidence) -> Table:
    forwards: dict[str, int] = {}
    phases: dict[str, float] = {}
    for record in evidence.records:
        for name, count in record.forwards.items():
            forwards[name] = forwards.get(name, 0) + int(count)
        for name, value in seconds_of(record).items():
            phases[name] = phases.get(name, 0.0) + value
    thinned = forwards.pop("thinned", 0)
    gathered = forwards.pop("gathered", 0)
    shared = forwards.pop("avoided", 0)
    decoded = forwards.pop("decoded", 0)
    run = sum(forwards.values())
    detail = ", ".join(f"{k} {thousands(v)}" for k, v in forwards.items())
    why = "conditions with equal pixels share"
    if gathered:
        why += (
            f": {thousands(shared)}; temporal conditions of a frame-wise model show known frames: "
            f"{thousands(gathered)}"
        )
    if thinned:
        why += f"; fidelity {evidence.fidelity.get('name', '')} left out {thousands(thinned)} more"
    reused = sum(1 for event in evidence.events if event.get("event") == "reused")
    rows = [
        [
            "clips forwarded",
            f"{thousands(run)} run ({detail}), {thousands(shared + gathered)} avoided ({why})",
        ],
        *([["test clips decoded", thousands(decoded)]] if decoded else []),
        ["time of all trials", ", ".join(f"{k} {seconds(v)}" for k, v in phases.items()) or "–"],
        ["cells reused", str(reused)],
    ]
    return Table(columns=["", "cost"], rows=rows, caption="Finished runs.", numeric=False)


def seconds_of(record: TrialRecord) -> dict[str, float]:
    """Seconds per phase of a record; empty where none were stored."""
    found = record.run.get("seconds")
    if isinstance(found, Mapping):
        return {k: float(v) for k, v in found.items() if isinstance(v, (int, float))}
    return {"all": float(found)} if isinstance(found, (int, float)) else {}


def _provenance(evidence: Evidence) -> Table:
    """Equality of what was tested, and where it ran."""
    hosts = sorted({str(r.run["host"]) for r in evidence.records if r.run.get("host")})
    devices = sorted({str(r.run["device"]) for r in evidence.records if r.run.get("device")})
    hashed = any(score.pixels for record in evidence.records for score in record.scores)
    if evidence.unequal_pixels:
        pixels = f"DIFFERENT between cells for {', '.join(evidence.unequal_pixels)}"
    else:
        pixels = "equal in all cells" if hashed else "not recorded"
    protocol = evidence.unequal_protocol
    environment = evidence.environment
    packages = environment.get("packages") or environment.get("versions") or {}
    rows = [
        ["tested pixels", pixels],
        ["protocol", f"DIFFERENT: {', '.join(protocol)}" if protocol else "equal in all cells"],
        ["trials ran on", "; ".join([*hosts, *devices]) or "unknown"],
        *(
            [str(name), _flat(value)]
            for name, value in environment.items()
            if name not in {"packages", "versions"} and value not in (None, "", [], {})
        ),
        ["packages", ", ".join(f"{k} {v}" for k, v in dict(packages).items())],
    ]
    return Table(
        columns=["", "environment"],
        rows=[row for row in rows if row[1]],
        caption="Provenance; more in `environment.json`.",
        numeric=False,
    )


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items())
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):
            return f"{len(value)} more start{'s' if len(value) > 1 else ''} of the driver"
        return ", ".join(_flat(v) for v in value)
    return str(value)
