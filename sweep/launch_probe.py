"""What `doctor` asks a running Ray cluster. Besides `launch` the only file that touches Ray."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

#: A node that starts no task within this time is reported as busy or broken.
TASK_TIMEOUT_S = 30.0
#: Packages that must agree between the driver and every node.
COMPARED = ("torch", "torchvision", "decord", "av")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """One node of a cluster as seen from the driver.

    Attributes:
        host: Host name.
        resources: Total CPU, GPU and memory in bytes, as Ray counts them.
        is_shared: Whether a file that the node writes below the output folder is seen here.
        free_bytes: Free space of the output folder's file system on the node.
        differences: Versions that differ from the driver's, such as `torch 2.11 (here 2.15)`.
        problem: Why the node could not be asked or cannot write; "" if it could.
    """

    host: str
    resources: dict[str, float]
    is_shared: bool = False
    free_bytes: int = 0
    differences: tuple[str, ...] = ()
    problem: str = ""


def offered(address: str | None = None, *, log: Path) -> list[tuple[float, float]]:
    """CPUs and GPUs of every living node of a running cluster.

    Args:
        address: HOST:PORT of the cluster; default ``$RAY_ADDRESS``, else one on this machine.
        log: File for what Ray says.

    Raises:
        ConfigError: if no cluster can be joined.
    """
    from sweep.launch.cluster import cluster

    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    with cluster(address, log=log):
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(float(n.get("CPU", 0)), float(n.get("GPU", 0))) for n in alive]


def nodes(address: str | None, out: Path, *, log: Path) -> list[NodeState]:
    """State of every living node, each asked by a task of its own.

    Args:
        address: HOST:PORT of the cluster; None inside a Ray job.
        out: Folder that sweeps will be written to; exists on the driver.
        log: File for what Ray says.

    Raises:
        ConfigError: if the cluster cannot be joined.
    """
    from sweep.launch.cluster import cluster

    with cluster(address, log=log):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token = secrets.token_hex(4)
        asked = []
        for node in ray.nodes():
            if node["Alive"]:
                pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                how: Any = {"num_cpus": 0, "scheduling_strategy": pinned, "max_retries": 0}
                task = ray.remote(**how)(_look)
                asked.append((node, task.remote(str(out), f"{token}-{node['NodeID'][:8]}")))
        return [_state(node, answer, out) for node, answer in asked]


def _state(node: dict[str, Any], answer: Any, out: Path) -> NodeState:
    """Wait for a node's answer and compare it with what is seen here."""
    import ray

    kept = {k: float(v) for k, v in node["Resources"].items() if k in ("CPU", "GPU", "memory")}
    host = str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])
    try:
        found = ray.get(answer, timeout=TASK_TIMEOUT_S)
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
        differences=_differences(found["versions"]),
        problem=found["problem"],
    )


def _look(out: str, token: str) -> dict[str, Any]:
    """Runs on a node: leave a file in the output folder and say what is there."""
    name = f".probe-{token}"
    found = {"probe": name, "problem": "", "free_bytes": 0, "versions": versions(COMPARED)}
    try:
        # created on a node that lacks it, as a trial would do for its scratch folder
        Path(out).mkdir(parents=True, exist_ok=True)
        found["free_bytes"] = shutil.disk_usage(out).free
        (Path(out) / name).write_text(name, encoding="utf-8")
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


def token_source() -> str | None:
    """Where Ray finds the authentication token; None without one. The token is not read out."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "$RAY_AUTH_TOKEN"
    if given := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return f"$RAY_AUTH_TOKEN_PATH ({given})" if Path(given).is_file() else None
    path = Path.home() / ".ray" / "auth_token"
    return str(path) if path.is_file() else None
