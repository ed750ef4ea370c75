"""What the nodes of a cluster say of themselves: each is asked by a task pinned to it."""

from __future__ import annotations

import platform
import secrets
import shutil
import socket
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A node that starts no task within this time is reported as busy or broken.
TASK_TIMEOUT_S = 30.0
#: Packages that must agree between the driver and every node.
COMPARED = ("ray", "torch", "torchvision", "decord", "av", "opencv-python-headless", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """One node of a cluster as seen from the driver.

    Attributes:
        host: Host name.
        resources: Total CPU, GPU and memory in bytes, as Ray counts them.
        is_shared: Whether a file that the node writes below the output folder is seen here.
        free_bytes: Free space of the output folder's file system on the node.
        shm_bytes: Free space of /dev/shm on the node; 0 where there is none.
        differences: Versions that differ from the driver's, such as `torch 2.11 (here 2.15)`.
        problem: Why the node could not be asked or cannot write; "" if it could.
    """

    host: str
    resources: dict[str, float]
    is_shared: bool = False
    free_bytes: int = 0
    shm_bytes: int = 0
    differences: tuple[str, ...] = ()
    problem: str = ""


def living() -> list[dict[str, Any]]:
    """What Ray knows of every living node of the cluster that this process has joined."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def resources_of_nodes() -> list[dict[str, float]]:
    """Total CPU, GPU, memory and custom resources of every living node."""
    return [node["Resources"] for node in living()]


def ask_nodes(out: Path) -> list[NodeState]:
    """State of every living node of the cluster that this process has joined.

    All nodes are asked at once, and together get :data:`TASK_TIMEOUT_S` to answer.

    Args:
        out: Folder that sweeps are written to; exists here.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = secrets.token_hex(4)
    asked = []
    for node in living():
        pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        how: Any = {"num_cpus": 0, "scheduling_strategy": pinned, "max_retries": 0}
        task = ray.remote(**how)(_look)
        asked.append((node, task.remote(str(out), f"{token}-{node['NodeID'][:8]}")))
    end = time.monotonic() + TASK_TIMEOUT_S
    try:
        return [_state(node, answer, out, end) for node, answer in asked]
    finally:
        for _, answer in asked:
            ray.cancel(answer, force=True)


def _state(node: dict[str, Any], answer: Any, out: Path, end: float) -> NodeState:
    """Wait for a node's answer and compare it with what is seen here."""
    import ray

    kept = {k: float(v) for k, v in node["Resources"].items() if k in ("CPU", "GPU", "memory")}
    host = str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])
    try:
        found = ray.get(answer, timeout=max(0.1, end - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        problem = f"started no task within {TASK_TIMEOUT_S:.0f} s"
        return NodeState(host=host, resources=kept, problem=problem)
    except Exception as error:  # noqa: BLE001 - a broken node is a finding
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        return NodeState(host=host, resources=kept, problem=f"runs no task: {first}")
    probe = out / found["probe"]
    try:
        is_shared = probe.read_text(encoding="utf-8") == found["probe"]
        probe.unlink()
    except OSError:
        is_shared = False
    return NodeState(
        host=host,
        resources=kept,
        is_shared=is_shared,
        free_bytes=found["free_bytes"],
        shm_bytes=found["shm_bytes"],
        differences=_differences(found["versions"]),
        problem=found["problem"],
    )


def _look(out: str, token: str) -> dict[str, Any]:
    """Runs on a node: leave a file in the output folder and say what is there."""
    name = f".probe-{token}"
    found: dict[str, Any] = {"probe": name, "problem": "", "free_bytes": 0, "shm_bytes": 0}
    found["versions"] = versions(COMPARED)
    try:
        # created on a node that lacks it, as a trial would do for its scratch folder
        Path(out).mkdir(parents=True, exist_ok=True)
        found["free_bytes"] = shutil.disk_usage(out).free
        (Path(out) / name).write_text(name, encoding="utf-8")
        if Path("/dev/shm").is_dir():
            found["shm_bytes"] = shutil.disk_usage("/dev/shm").free
    except OSError as error:
        found["problem"] = f"cannot write {out} on {socket.gethostname()}: {error.strerror}"
    return found


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of installed packages; `absent` for the others."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def _differences(theirs: dict[str, str]) -> tuple[str, ...]:
    ours = versions(COMPARED)
    return tuple(f"{n} {v} (here {ours[n]})" for n, v in theirs.items() if v != ours[n])
