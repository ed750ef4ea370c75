"""What `doctor` and `plan` ask of Ray."""

from __future__ import annotations

import os
from pathlib import Path

from sweep.engine.tune.nodes import NodeState, versions

__all__ = ["NodeState", "nodes", "offered", "token_source", "versions"]


def offered(address: str | None = None, *, log: Path) -> list[tuple[float, float]]:
    """CPUs and GPUs of every living node of a running cluster.

    Args:
        address: HOST:PORT of the cluster; default ``$RAY_ADDRESS``, else one on this machine.
        log: File for what Ray says.

    Raises:
        ConfigError: if no cluster can be joined.
    """
    from sweep.engine.tune.cluster import cluster
    from sweep.engine.tune.nodes import living

    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    with cluster(address, log=log):
        found = [node["Resources"] for node in living()]
    return [(float(n.get("CPU", 0)), float(n.get("GPU", 0))) for n in found]


def nodes(address: str | None, out: Path, *, log: Path) -> list[NodeState]:
    """State of every living node, each asked by a task of its own.

    Args:
        address: HOST:PORT of the cluster; None inside a Ray job.
        out: Folder that sweeps will be written to; exists on the driver.
        log: File for what Ray says.

    Raises:
        ConfigError: if the cluster cannot be joined.
    """
    from sweep.engine.tune.cluster import cluster
    from sweep.engine.tune.nodes import ask_nodes

    with cluster(address, log=log):
        return ask_nodes(out)


def token_source() -> str | None:
    """Where Ray finds the authentication token; None without one. The token is not read out."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "$RAY_AUTH_TOKEN"
    if given := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return f"$RAY_AUTH_TOKEN_PATH ({given})" if Path(given).is_file() else None
    path = Path.home() / ".ray" / "auth_token"
    return str(path) if path.is_file() else None
