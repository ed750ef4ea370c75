"""A Ray cluster of several raylets on this machine, told what to do line by line.

usage: python small_cluster.py TEMP_DIR CPUS [CPUS ...]

The first number is the head's. Prints `{"address": ..., "raylets": [PID, ...]}` at the start and
after every line `add CPUS CWD`; ends with its standard input. Workers of a node begin in its CWD.
"""

import json
import os
import sys
from pathlib import Path


def main(folder, head, *others):
    # the address of the cluster is written there, instead of where every `ray.init()` would find it
    os.environ["RAY_TMPDIR"] = folder
    Path(folder, "ray").mkdir()
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": int(head), "include_dashboard": False, "temp_dir": folder,
                        "object_store_memory": 80_000_000},
    )  # fmt: skip
    for cpus in others:
        add(cluster, int(cpus))
    say(cluster)
    for line in sys.stdin:
        _, cpus, cwd = line.split()
        here = Path.cwd()
        os.chdir(cwd)
        add(cluster, int(cpus))
        os.chdir(here)
        say(cluster)


def add(cluster, cpus, attempts=4):
    """A node; one that a busy machine does not bring up within Ray's thirty seconds again."""
    for left in range(attempts)[::-1]:
        try:
            cluster.add_node(num_cpus=cpus, object_store_memory=80_000_000)
        except Exception:
            if not left:
                raise
        else:
            return


def say(cluster):
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
