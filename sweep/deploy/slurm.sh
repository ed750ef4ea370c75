#!/usr/bin/env bash
# sbatch sweep/deploy/slurm.sh study NAME [KEY=VALUE ...] --out /shared/runs/NAME
# See README.md beside this file for what to CHANGE.
#SBATCH --job-name=auxsweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --open-mode=append
set -euo pipefail

# CHANGE: activate the environment, the same on all nodes, such as
# source /shared/auxsweep/.venv/bin/activate

if (($# == 0)); then
    echo "usage: sbatch $0 study NAME [KEY=VALUE ...] --out DIR" >&2
    exit 2
fi
cpus=${SLURM_CPUS_PER_TASK:?run this by sbatch, with --cpus-per-task}
gpus=${SLURM_GPUS_ON_NODE:-0}
nodes=${SLURM_JOB_NUM_NODES:?run this by sbatch}

# a port and a folder of this job's own: several jobs may share a node; 10002 to 19999 are Ray's
port=$((20000 + SLURM_JOB_ID % 10000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}'):$port
scratch=/tmp/ray-$SLURM_JOB_ID

# a token that only this job's processes know; srun passes the environment on
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

steps=()
driver=
stop() {
    for step in "${steps[@]}"; do
        kill "$step" 2>/dev/null || true
    done
    wait
}
trap stop EXIT
trap 'test -z "$driver" || kill -TERM "$driver"' TERM INT

offer=(--num-cpus="$cpus" --num-gpus="$gpus" --block)
srun --nodes=1 --ntasks=1 -w "$head" \
    ray start --head --port="$port" --ray-client-server-port=$((port + 10000)) \
    --include-dashboard=false --temp-dir="$scratch" "${offer[@]}" &
steps+=($!)
until ray health-check --address "$address" >/dev/null 2>&1; do
    kill -0 "${steps[0]}" || { echo "Ray did not start on $head" >&2; exit 2; }
    sleep 1
done
if ((nodes > 1)); then
    srun --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$head" \
        ray start --address="$address" "${offer[@]}" &
    steps+=($!)
fi

export RAY_ADDRESS=$address
# all nodes, or a message after five minutes; a study would start on those that are there
timeout 300 python - "$nodes" <<'PYTHON' || echo "not all $nodes nodes joined; going on" >&2
import sys, time, ray
ray.init(log_to_driver=False, logging_level="ERROR")
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(1)
PYTHON

python -m sweep.run "$@" &
driver=$!
# a signal interrupts `wait`, not the driver, which stores what it has and then ends
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do
    code=0
    wait "$driver" || code=$?
done
exit "$code"
