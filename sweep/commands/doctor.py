"""``doctor``: what this machine or cluster can do, and what to do about the rest.

Every line is `ok`, `warn` (works, but less well) or `fail` (a study cannot run), with the remedy.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from sweep.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sweep.engine.tune.probe import NodeState

Status = Literal["ok", "warn", "fail"]

GIB = 1024**3
#: A group of checks that takes longer hangs: joining a cluster (30 s) and asking its nodes (30 s).
GROUP_TIMEOUT_S = 90.0
#: Oldest versions that are known to work; as declared by the distribution.
FLOORS = {
    "torch": "2.11",
    "torchvision": "0.26",
    "ray": "2.55",
    "decord": "0.6",
    "av": "14",
    "opencv-python-headless": "5.0",
    "optuna": "5.0",
    "wandb": "0.28",
    "pydantic": "2.10",
    "numpy": "2.0",
    "scipy": "1.15",
    "pandas": "2.2",
}
MIN_FREE_BYTES = 2 * GIB
CONNECT_TIMEOUT_S = 4.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    status: Status
    name: str
    found: str
    remedy: str = ""


def run(*, address: str | None, out: Path | None, local: bool, as_json: bool = False) -> int:
    """Print the table, each line as soon as it is known.

    Args:
        address: HOST:PORT of a Ray cluster; None: ``$RAY_ADDRESS``.
        out: Folder that sweeps will be written to; None: `runs`.
        local: Leave Ray out.
        as_json: Print one JSON object instead: `ready`, and `checks` with the fields of
            :class:`Check`.

    Returns:
        0, or 2 if a line says `fail`.
    """
    folder = (out or Path("runs")).expanduser().absolute()

    def output_folder() -> Iterator[Check]:
        return output(folder)

    def ray_cluster() -> Iterator[Check]:
        return ray_checks(address, folder)

    groups: list[Callable[[], Iterator[Check]]] = [
        packages, accelerators, machine, decoders, cache, weights, output_folder,
    ]  # fmt: skip
    if not local:
        groups.append(ray_cluster)
    groups.append(tracking)
    stdout = sys.stdout  # a probe that hangs may have put another in its place
    checks = []
    for group in groups:
        for check in _guarded(group):
            checks.append(check)
            if not as_json:
                _show(check, stdout)
    fails = any(check.status == "fail" for check in checks)
    if as_json:
        content = {"ready": not fails, "checks": [asdict(c) for c in checks]}
        print(json.dumps(content, indent=1), file=stdout)
    else:
        last = "Something that is needed fails; see above." if fails else "Ready."
        print(last, file=stdout)
    stdout.flush()
    return 2 if fails else 0


def _show(check: Check, stdout: TextIO) -> None:
    print(f"{check.status:<5} {check.name:<14} {check.found}", file=stdout, flush=True)
    if check.remedy:
        print(f"{'':<20} -> {check.remedy}", file=stdout, flush=True)


def _guarded(group: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """A probe that breaks, or does not come back, is itself a finding.

    Probes run in a thread: a library that waits for a server cannot be interrupted otherwise. The
    thread is left behind and ends with the program.
    """
    found: queue.SimpleQueue[Check | None] = queue.SimpleQueue()
    name = getattr(group, "__name__", "check").strip("<>")

    def work() -> None:
        try:
            for check in group():
                found.put(check)
        except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
            found.put(Check("fail", name, f"{type(error).__name__}: {error}", "see the message"))
        found.put(None)

    threading.Thread(target=work, daemon=True).start()
    end = time.monotonic() + GROUP_TIMEOUT_S
    while True:
        try:
            check = found.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            remedy = (
                "look there: a dead mount, a server that accepts and does not answer, a busy node"
            )
            yield Check("fail", name, f"no answer within {GROUP_TIMEOUT_S:.0f} s", remedy)
            return
        if check is None:
            return
        yield check


# ------------------------------------------------------------------------------------- software


def packages() -> Iterator[Check]:
    """Python, versions, and whether torch and torchvision belong together."""
    from sweep.engine.tune.probe import versions

    found = versions(tuple(FLOORS))
    python = found.pop("python")
    is_new = tuple(map(int, platform.python_version_tuple()[:2])) >= (3, 11)
    yield Check("ok" if is_new else "fail", "Python", python, "" if is_new else "use 3.11 or newer")
    bad = [n for n, v in found.items() if v == "absent" or _parts(v) < _parts(FLOORS[n])]
    if bad:
        wrong = ", ".join(f"{n} {found[n]} (needs {FLOORS[n]})" for n in bad)
        install = " ".join(f"'{n}>={FLOORS[n]}'" for n in bad)
        yield Check("fail", "packages", wrong, f"pip install {install}")
    good = ", ".join(f"{n} {v}" for n, v in found.items() if n not in bad)
    yield Check("ok", "packages", good)
    yield _pairing()


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _pairing() -> Check:
    try:
        import torch
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        torchvision.ops.nms(boxes, torch.ones(1), 0.5)  # a compiled operator: absent in a bad pair
    except Exception as error:  # noqa: BLE001 - import errors of compiled code have many types
        remedy = "install torch and torchvision of one release, from one index, together"
        return Check("fail", "torch pair", f"{type(error).__name__}: {error}", remedy)
    return Check("ok", "torch pair", f"torch {torch.__version__}, vision {torchvision.__version__}")


def decoders() -> Iterator[Check]:
    """A tiny H.264 file, written and read back by both decoders."""
    import numpy as np

    from sweep.data.decoding.decode import read_frames
    from sweep.data.decoding.probe import probe_file
    from sweep.data.motes.make import encode

    y, x = np.mgrid[0:48, 0:64]
    ramp = np.stack([x * 3, y * 4, (x + y) * 2], axis=-1)
    frames = np.stack([np.clip(ramp + 4 * t, 0, 255) for t in range(12)]).astype(np.uint8)
    wanted = [0, 5, 11]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        encode(frames, path)
        read = {}
        for name in ("decord", "pyav"):
            info = probe_file(path, backend=name)  # type: ignore[arg-type]
            if not info.is_readable:
                status: Status = "warn" if name == "decord" else "fail"
                yield Check(status, name, info.error, f"reinstall {name.replace('pyav', 'av')}")
                continue
            read[name] = read_frames(path, wanted, info=info).astype(np.int16)
    for name, pixels in read.items():
        error = float(np.abs(pixels - frames[wanted]).mean())
        if error > 12:
            yield Check(
                "fail", name, f"wrong pixels: mean error {error:.0f} of 255", "reinstall it"
            )
    if len(read) == 2:
        gap = float(np.abs(read["decord"] - read["pyav"]).max())
        status = "ok" if gap <= 16 else "warn"  # they may round colours differently
        remedy = "" if gap <= 16 else "fix data.backend for a whole sweep, do not mix the two"
        found = f"H.264 round trip by decord and PyAV; largest difference {gap:.0f} of 255"
        yield Check(status, "decoders", found, remedy)


# -------------------------------------------------------------------------------------- machine


def accelerators() -> Iterator[Check]:
    """GPUs that torch can use."""
    import torch

    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi"):
            remedy = "this torch cannot use the GPU: install its CUDA build, or check the driver"
            yield Check(
                "warn", "GPU", f"a driver, but no CUDA in torch {torch.__version__}", remedy
            )
        else:
            yield Check("ok", "GPU", "none: scale mini runs on the CPU, scale paper needs one")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        with torch.cuda.device(index):
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        found = f"{index}: {device.name}, {device.total_memory / GIB:.0f} GiB"
        if has_bf16:
            yield Check("ok", "GPU", f"{found}, bf16")
        else:
            yield Check("warn", "GPU", f"{found}, no bf16", "training runs in fp32 there")


def machine() -> Iterator[Check]:
    """Cores, memory, shared memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("ok", "CPU", f"{cores} cores for this process")
    memory = _memory_bytes()
    if memory is not None:
        is_enough = memory >= 4 * GIB
        remedy = "" if is_enough else "lower resources.max_concurrent: a trial wants about 1 GiB"
        status: Status = "ok" if is_enough else "warn"
        yield Check(status, "memory", f"{memory / GIB:.1f} GiB available", remedy)
    shm = Path("/dev/shm")
    if shm.is_dir():
        free = shutil.disk_usage(shm).free
        is_enough = free >= GIB
        remedy = "" if is_enough else "Ray spills to disk: give the container --shm-size=4g or more"
        yield Check("ok" if is_enough else "warn", "/dev/shm", f"{free / GIB:.1f} GiB free", remedy)


def _memory_bytes() -> int | None:
    """Memory that is left, within the limit of a container if there is one."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        found = int(re.search(r"MemAvailable:\s+(\d+) kB", text)[1]) * 1024  # type: ignore[index]
    except (OSError, TypeError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or no limit (`max`)
        return found
    return min(found, limit - used)


def cache() -> Iterator[Check]:
    """Where data is stored on this node."""
    from sweep.data.folders import cache_of
    from sweep.settings.data import DataSettings

    folder = cache_of(DataSettings())
    made = sorted(p.name for p in (folder / "motes").glob("*") if p.is_dir())
    state = (
        f"{len(made)} embedded sets made" if made else "embedded data is made by the first study"
    )
    yield from _folder("data cache", folder, state, "set AUXSWEEP_CACHE to a folder with space")


def weights() -> Iterator[Check]:
    """Which published checkpoints lie on this node."""
    from models.catalogue import MODELS
    from models.weights import folder, here

    rows = [(row.name, spec) for row in MODELS.values() for spec in row.weights]
    found = [f"{name} {spec.name}" for name, spec in rows if here(spec) is not None]
    told = ", ".join(found) or "none"
    yield Check(
        "ok",
        "weights",
        f"{len(found)} of {len(rows)} checkpoints are here: {told}; "
        f"looked in {folder()} and in caches (`list models` says where each belongs)",
    )


def output(folder: Path) -> Iterator[Check]:
    """The folder of sweeps."""
    yield from _folder("output", folder, "writable", "give another folder with --out")


def _folder(name: str, folder: Path, state: str, remedy: str) -> Iterator[Check]:
    """Whether files can be made below a folder that may not exist yet, and how much fits."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        if not existing.is_dir():
            raise NotADirectoryError(20, f"{existing} is a file")
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"probe")
        free = shutil.disk_usage(existing).free
    except OSError as error:
        yield Check("fail", name, f"{folder}: not writable: {error.strerror}", remedy)
        return
    found = f"{folder}: {state}, {free / GIB:.0f} GiB free"
    if free < MIN_FREE_BYTES:
        yield Check("warn", name, found, f"little space: {remedy}")
    else:
        yield Check("ok", name, found)


# ------------------------------------------------------------------------------- Ray and W&B


def ray_checks(address: str | None, folder: Path) -> Iterator[Check]:
    """Address, token, and every node of a running cluster."""
    from sweep.engine.folder import in_ray_job
    from sweep.engine.tune.probe import token_source

    mode = os.environ.get("RAY_AUTH_MODE")
    source = token_source()
    yield _token(mode, source)
    target = address or os.environ.get("RAY_ADDRESS") or None
    if target is None and not in_ray_job():
        yield Check("ok", "Ray", "no address: a study starts Ray on this machine and ends it")
        return
    if target and target.startswith(("http://", "https://")):
        remedy = (
            "give HOST:PORT of the head, such as 10.0.0.1:6379; http:// is for `ray job submit`"
        )
        yield Check("fail", "Ray", f"{target} is the address of a dashboard", remedy)
        return
    if target and (reason := _no_connection(target)):
        remedy = (
            "start it with `ray start --head`, check host, port and firewall, or unset RAY_ADDRESS"
        )
        yield Check("fail", "Ray", f"{target}: {reason}", remedy)
        return
    yield from _cluster(target, folder)


def _token(mode: str | None, source: str | None) -> Check:
    """Ray 2.60: a head demands a token as soon as a token file lies in its user's home."""
    if mode == "token" and source is None:
        remedy = "`ray get-auth-token --generate`, or set RAY_AUTH_TOKEN to the head's"
        return Check("fail", "Ray token", "RAY_AUTH_MODE=token, but there is no token", remedy)
    if mode == "token":
        return Check("ok", "Ray token", f"RAY_AUTH_MODE=token, from {source}")
    if mode == "disabled":
        remedy = "anyone who reaches the ports of such a cluster can run code on it"
        return Check("warn", "Ray token", "RAY_AUTH_MODE=disabled", remedy)
    if source is not None:
        remedy = (
            "export RAY_AUTH_MODE=token for both `ray start` and `ray job submit`: a head started "
            "here demands the token, a client without the variable does not send it"
        )
        return Check("warn", "Ray token", f"{source}, but RAY_AUTH_MODE is not set", remedy)
    return Check("ok", "Ray token", "none needed by a study on this machine")


def _no_connection(target: str) -> str | None:
    """Why nothing listens at HOST:PORT; None if something does."""
    if target in {"auto", "local"}:
        return None
    host, _, port = target.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return "not of the form HOST:PORT"
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return str(error)
    return None


def _cluster(target: str | None, folder: Path) -> Iterator[Check]:
    """Join the cluster and ask its nodes."""
    from sweep.engine.tune.probe import nodes

    with tempfile.TemporaryDirectory() as scratch:
        is_new = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = nodes(target, folder, log=Path(scratch) / "ray.log")
        except (ValueError, OSError) as error:
            remedy = (
                "if the head wants a token, set RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN here"
            )
            yield Check("fail", "Ray", str(error), remedy)
            return
        finally:
            if is_new and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    total = {k: sum(n.resources.get(k, 0) for n in found) for k in ("CPU", "GPU")}
    counts = f"{len(found)} {'node' if len(found) == 1 else 'nodes'}"
    counts += f", {total['CPU']:g} CPU, {total['GPU']:g} GPU"
    yield Check("ok", "Ray", f"joined {target or 'the cluster of this job'}: {counts}")
    for node in found:
        yield from _node(node, folder)


def _node(node: NodeState, folder: Path) -> Iterator[Check]:
    """What a node of the cluster is short of."""
    text = f"{node.host}: {node.resources.get('CPU', 0):g} CPU, "
    text += f"{node.resources.get('GPU', 0):g} GPU, {node.free_bytes / GIB:.0f} GiB free"
    if node.problem:
        yield Check("fail", "node", f"{text}; {node.problem}", "repair or remove this node")
        return
    if node.differences:
        remedy = "install the same versions everywhere, or numbers differ between nodes"
        yield Check("warn", "node", f"{text}; {', '.join(node.differences)}", remedy)
    if not node.is_shared:
        remedy = (
            "results still arrive; checkpoints stay on the node, so a trial that moves starts "
            "anew. A shared folder as --out avoids that"
        )
        yield Check("warn", "node", f"{text}; {folder} is not shared with this driver", remedy)
    elif node.free_bytes < MIN_FREE_BYTES:
        yield Check("warn", "node", text, "little space for checkpoints and perturbed clips")
    elif not node.differences:
        yield Check("ok", "node", f"{text}; shares {folder}")
    if 0 < node.shm_bytes < GIB:
        found = f"{node.host}: /dev/shm has {node.shm_bytes / GIB:.1f} GiB free"
        yield Check("warn", "node", found, "give its container --shm-size=4g or more")


def tracking() -> Iterator[Check]:
    """Where W&B runs would go."""
    from sweep.tracking.server import key_source, resolve_mode, server_url, unreachable

    mode = resolve_mode("auto")
    source = key_source()
    if mode == "disabled":
        yield Check("ok", "W&B", "disabled by the environment")
    elif mode == "offline":
        key = f"a key from {source}" if source else "no key"
        found = f"offline, {key}: runs are kept in the sweep folder"
        later = f"`{program('sync', 'DIR')}` with WANDB_MODE=online uploads them"
        yield Check("ok", "W&B", f"{found}; {later}")
    elif source is None:
        remedy = "set WANDB_API_KEY or run `wandb login`; until then runs are written offline"
        yield Check("warn", "W&B", "online, but no key", remedy)
    elif reason := unreachable():
        remedy = f"runs are written offline; upload them later with `{program('sync', 'DIR')}`"
        yield Check("warn", "W&B", f"online, key from {source}, but {reason}", remedy)
    else:
        yield Check("ok", "W&B", f"online at {server_url()}, key from {source}")
