#!/usr/bin/env bash
# Trains on the TPUs of a GKE cluster that XPK made (pip install xpk; README.md has the commands).
# Arguments go to cifsel.main as they are:
#
#     CLUSTER=my-cluster experiments/tpu/gke-xpk.sh --config=configs/effnet.py
#
# The checkout is packed onto the image with the files as they are now, uncommitted ones too, and
# installed when a pod starts. A pod that loses its VM, or whose peer did, is started again.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

need CLUSTER my-cluster
checkout=$(cd "$(dirname "$0")/../.." && pwd)
# exec: the SIGTERM that XPK passes on reaches Python, which saves and exits with 75, or
# with 143 where there is nothing to save.
line="pip install --quiet '.[tpu]' && exec $(training python "$@")"
run xpk workload create --cluster="$CLUSTER" --workload="$NAME" "${where[@]}" --tpu-type="$TYPE" \
  --num-slices=1 --base-docker-image=python:3.12 --script-dir="$checkout" --max-restarts=10 \
  --restart-on-exit-codes=1,75,143 --command="$line"
