"""A real driver whose trials cost nothing, to be started, killed and resumed by the tests.

usage: python tiny_driver.py SWEEP [engine=ray|local] [pause=SECONDS] [die=FILE] [fail=LABEL]
                             [hang=LABEL] [stop=LABEL] [memory=LABEL] [real=N] [KEY=VALUE ...]

Cells of these labels fail; the first of them (seed 300) hangs once, is stopped every time like
a process on a dead disk, or runs out of memory unless Ray gave it that of a whole node. All others
beat while they wait. With `real=N` the cells of the first N seeds are real trials on real data.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from sweep.settings.section import ConfigError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sweep.cells.resolve import cells
from sweep.commands.terminal import tolerant_output
from sweep.engine.run import run_study
from sweep.engine.session import Session
from sweep.engine.summary import leave
from sweep.records.ledger import failed_record
from sweep.records.patterns import matching
from sweep.records.record import Score, TrialRecord
from sweep.runtime import heartbeat
from sweep.studies.load import load_study

STEPS = 5


def study(overrides):
    return load_study(
        "quickstart",
        overrides=["seeds=2", "seed_base=300", f"train.steps={STEPS}", "train.log_every=1",
                   "track.wandb=disabled", *overrides],
    )  # fmt: skip


def accuracy(config, condition):
    """A fixed number for each cell and condition."""
    content = f"{config.key}{condition}".encode()
    return (sum(content) * 7919 % 1000) / 10


def record_of(config):
    names = ("clean", "appearance", "viewpoint", "dynamics", "gaussian_noise/1", "jumbling/1")
    scores = tuple(
        Score(condition=n, category="clean", metrics={"top1": accuracy(config, n)}, clips=10)
        for n in names
    )
    judged = matching(names, config.evaluate.on_validation)
    return TrialRecord(
        key=config.key, label=config.label, status="done", seed=config.seed,
        losses=tuple(sorted(config.losses)), combiner=config.combiner.name,
        config=config.model_dump(mode="json"),
        scores=scores, validation=tuple(s for s in scores if s.condition in judged),
        forwards={"train": config.train.steps * config.train.batch, "evaluate": 10},
        run={"pid": os.getpid(), "time": time.time()},
    )  # fmt: skip


def make_trial(*, pause=0.0, die="", fail="", hang="", stop="", memory="", real=0):
    """Checkpoints its step, waits, fails or dies as told."""

    def trial(config, *, scratch, on_metrics=None):
        if 300 <= config.seed < 300 + real:
            from sweep.runtime.device import limit_threads
            from sweep.trial import run_trial

            limit_threads(1)
            return run_trial(config, scratch=scratch, on_metrics=on_metrics)
        if config.label == fail:
            record = failed_record(config, kind="Diverged", message="the loss is not finite")
            return SimpleNamespace(record=record, history=[], outcomes=None)
        if config.label == memory and config.seed == 300 and not has_all_memory():
            record = failed_record(config, kind="OutOfMemory", message="no room for 3 GiB")
            return SimpleNamespace(record=record, history=[], outcomes=None)
        state = scratch / "checkpoint" / "step"
        state.parent.mkdir(parents=True, exist_ok=True)
        begin = int(state.read_text()) if state.is_file() else 0
        trained = config.train.steps - begin
        history = []
        for step in range(1, config.train.steps + 1):
            row = {"step": step, "unified": 1.0 / step, "losses": {}, "slopes": {}, "lr": 0.1}
            every = config.train.validate_every
            if every and step % every == 0:
                row["validation"] = {"top1": accuracy(config, f"step {step}")}
                if config.evaluate.each_validation:
                    row["validated"] = {
                        name: {"top1": accuracy(config, f"{name} step {step}")}
                        for name in ("clean", "gaussian_noise/1")
                    }
            history.append(row)
            if step <= begin:
                continue
            for _ in range(4):
                time.sleep(pause / config.train.steps / 4)
                heartbeat.beat(f"step {step}/{config.train.steps}")
            on_metrics(row)
            temporary = state.with_name(f"step.{os.getpid()}")
            temporary.write_text(str(step))
            temporary.replace(state)
            if step == 2 and config.seed == 300:
                misbehave(config.label, state, hang=hang, stop=stop)
            if die and step == 2 and config.label == "all" and Path(die).exists():
                if die.endswith("once"):
                    Path(die).unlink()
                else:
                    state.unlink()
                os.kill(os.getpid(), 9)
        record = record_of(config)
        record.run["trained_steps"] = trained
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            record.run["node"] = sys.modules["ray"].get_runtime_context().get_node_id()
        return SimpleNamespace(record=record, history=history, outcomes=None)

    return trial


def has_all_memory():
    """Whether Ray reserved the whole memory of this node for this trial."""
    ray = sys.modules["ray"]
    context = ray.get_runtime_context()
    total = max(
        n["Resources"]["memory"] for n in ray.nodes() if n["NodeID"] == context.get_node_id()
    )
    asked = [v for k, v in context.get_assigned_resources().items() if k.startswith("memory")]
    return max(asked, default=0) == total


def misbehave(label, state, *, hang, stop):
    if label == hang:
        lock = threading.Lock()
        with lock:
            lock.acquire()  # for ever
    if label == stop:
        state.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)


def plan(given, sweep, signals):
    session = Session(given, sweep, cells(given, "f0"), signals=signals, fingerprint="f0")
    session.plan_file.write()
    return session


def main(sweep, *arguments):
    told = ("die", "fail", "hang", "stop", "memory")
    options = {"engine": "ray", "pause": "0", "real": "0", **dict.fromkeys(told, "")}
    overrides = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in options:
            options[name] = value
        else:
            overrides.append(argument)
    real = int(options["real"])
    trial = make_trial(
        pause=float(options["pause"]), real=real, **{name: options[name] for name in told}
    )
    try:
        summary = run_study(
            study(overrides), out=Path(sweep), engine=options["engine"], trial=trial,
            plan=None if real else plan,
        )  # fmt: skip
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if summary.message:
        print(summary.message, file=sys.stderr)
    print(summary.status_line)
    return leave(summary)


if __name__ == "__main__":
    with tolerant_output():  # as `sweep.run` has it
        code = main(*sys.argv[1:])
    sys.exit(code)
