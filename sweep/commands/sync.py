"""``sync``: write the W&B runs of a sweep from its ledger, and upload them when online.

Exit code 1 if a run could not be written, or not uploaded where that was asked for (the runs are on
disk then, and the message says how to go on); 2 for a folder that is no sweep or cannot be written.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sweep.records.lock import holder_of
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study
from sweep.tracking.server import obstacle
from sweep.tracking.track import closed_runs, rebuild, sync_mode, upload, write

if TYPE_CHECKING:
    from pathlib import Path

    from sweep.settings.study import StudyConfig

POLL_S = 5.0
#: Polls for which a finished cell may lack a closed run before we write it in the driver's place.
PATIENCE = 3


def run(sweep: Path, *, live: bool = False, mode: str | None = None) -> int:
    """Write and upload the runs of a sweep.

    Args:
        sweep: Folder of the sweep.
        live: Follow a running sweep until its driver ends (or Ctrl-C).
        mode: `online` or `offline`; None: ``$WANDB_MODE``, else online if there is a key.

    Raises:
        ConfigError: if the folder holds no sweep.
    """
    sweep = sweep.resolve()
    if not (sweep / "sweep.yaml").is_file():
        raise ConfigError(f"{sweep}: no sweep here (sweep.yaml is missing)")
    study = load_study(str(sweep / "sweep.yaml"))
    if live:
        return _follow(sweep, study, mode)
    if _is_running(sweep):
        print("A driver is at work on this sweep: only finished runs are uploaded.")
        _pass(sweep, study, _resolve(study, mode), sent=set(), late={}, patience=None)
        return 0
    found = rebuild(sweep, mode=mode)
    print(f"{len(found['written'])} W&B runs written to {sweep / 'wandb'}")
    if found["missing"]:
        print(f"{len(found['missing'])} could not be written: {', '.join(found['missing'])}")
    if found["mode"] == "online" and not found["message"]:
        print(f"{len(found['uploaded'])} uploaded (group {sweep.name}, {study.track.project})")
    elif found["message"]:
        print(f"{len(found['uploaded'])} uploaded. {found['message']}")
    else:
        print("Not uploaded: set WANDB_MODE=online and WANDB_API_KEY (or `wandb login`).")
    is_short = found["mode"] == "online" and len(found["uploaded"]) < len(found["written"])
    return 1 if found["missing"] or is_short else 0


def _follow(sweep: Path, study: StudyConfig, mode: str | None) -> int:
    resolved = _resolve(study, mode)
    sent: set[str] = set()
    late: dict[str, int] = {}
    print(f"Following {sweep} ({resolved}); Ctrl-C ends this, not the sweep.")
    try:
        while True:
            is_running = _is_running(sweep)
            _pass(sweep, study, resolved, sent=sent, late=late, patience=PATIENCE * is_running)
            if not is_running:
                print(f"The sweep is not running; {len(sent)} runs are up to date.")
                return 0
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        print(f"Stopped following; {len(sent)} runs are up to date.")
        return 0


def _pass(
    sweep: Path,
    study: StudyConfig,
    mode: str,
    *,
    sent: set[str],
    late: dict[str, int],
    patience: int | None,
) -> None:
    """One look at a sweep: complete the closed runs, upload what is new.

    ``sent``, the runs that are done with, grows. ``late`` counts the polls for which a finished
    cell had no closed run; after ``patience`` of them (None: never) we write it in the driver's
    place.
    """
    cells = sweep / "cells"
    ended = {path.parent.name for n in ("result", "failure") for path in cells.glob(f"*/{n}.json")}
    waiting = ended - sent
    if not waiting:
        return
    closed = closed_runs(sweep)
    for key in waiting - set(closed):
        late[key] = late.get(key, -1) + 1
    if patience is not None and any(late.get(k, -1) >= patience for k in waiting - set(closed)):
        held = {key for key in waiting - set(closed) if late[key] < patience}
        write(sweep, study, skip=set(closed) | sent | held)
        closed = closed_runs(sweep)
    ready = sorted(waiting & set(closed))
    new = [key for key in ready if mode != "online" or not _is_synced(closed[key])]
    if mode == "online" and new:
        uploaded, message = upload(sweep, [closed[key] for key in new])
        print(f"{len(uploaded)} of {len(new)} runs uploaded. {message}".rstrip())
        ready = [key for key in ready if key not in new or key in uploaded]
    elif new:
        print(f"{len(new)} runs complete")
    sent.update(ready)


def _is_synced(folder: Path) -> bool:
    """Whether the server has it: uploaded afterwards, or written online from the start."""
    return not folder.name.startswith("offline-") or any(folder.glob("*.synced"))


def _is_running(sweep: Path) -> bool:
    holder = holder_of(sweep)
    return holder is not None and bool(holder["alive"])


def _resolve(study: StudyConfig, mode: str | None) -> str:
    resolved = sync_mode(study, mode)
    if resolved == "online" and (reason := obstacle()):
        print(f"Not uploading: {reason}")
        return "offline"
    return resolved
