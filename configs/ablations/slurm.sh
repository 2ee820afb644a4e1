#!/bin/bash
# A matrix over the nodes of one Slurm job: sbatch configs/ablations/slurm.sh FILE [options of `vid2act ablate`]
# Run it from your folder, on a file system that the nodes share. Name partition, account and GPUs here or as options
# of sbatch. VENV is another environment than .venv, and PORT another port than 6379. The last five minutes of the job
# are for runs to save; the same line again continues.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
set -euo pipefail

. "${VENV:-.venv}/bin/activate"
HOST="$(getent ahostsv4 "$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)" | awk '{print $1; exit}')"
export HOST PORT="${PORT:-6379}" RAY_USAGE_STATS_ENABLED=0 RAY_gcs_server_port_wait_time_s=120
# Ray listens on every interface and runs what it is sent: from whoever has the token.
RAY_AUTH_TOKEN="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

# The same on every node: the first one is the head, the others join it.
srun --kill-on-bad-exit=1 bash -c '
  if [ "$SLURM_PROCID" = 0 ]; then
    exec ray start --head --block --node-ip-address="$HOST" --port="$PORT" --include-dashboard=false
  fi
  until (echo > "/dev/tcp/$HOST/$PORT") 2> /dev/null; do sleep 1; done
  exec ray start --block --address="$HOST:$PORT"' &
NODES=$!
trap 'kill "$NODES" 2> /dev/null; wait "$NODES" || true' EXIT
until python - "$HOST:$PORT" "$SLURM_JOB_NUM_NODES" 2> /dev/null <<'END'
import sys
import ray
ray.init(sys.argv[1], logging_level='error')
sys.exit(sum(x['Alive'] for x in ray.nodes()) < int(sys.argv[2]))
END
do
  kill -0 "$NODES"
  sleep 2
done

RUNS=
trap 'kill -TERM $RUNS 2> /dev/null' TERM
vid2act ablate "$@" --ray "$HOST:$PORT" &
RUNS=$!
while kill -0 "$RUNS" 2> /dev/null; do wait "$RUNS" || true; done
wait "$RUNS" && STATUS=0 || STATUS=$?  # A wait that the signal interrupts has the signal's status.
exit "$STATUS"
