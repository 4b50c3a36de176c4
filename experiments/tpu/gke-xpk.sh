#!/usr/bin/env bash
# Trains on the TPUs of a GKE cluster that XPK made (pip install xpk). README.md has the commands.
# Arguments go to cifsel.main unchanged:
#
#     CLUSTER=my-cluster experiments/tpu/gke-xpk.sh --config=configs/effnet.py
#
# The image has the checkout with all files, uncommitted ones too. Each pod installs it when it
# starts. A pod starts again when it or a peer loses its VM.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

need CLUSTER my-cluster
checkout=$(cd "$(dirname "$0")/../.." && pwd)
# With exec, the SIGTERM from XPK reaches Python, which saves and exits with 75. It exits with 143
# if there is nothing to save.
line="pip install --quiet '.[tpu]' && exec $(training python "$@")"
run xpk workload create --cluster="$CLUSTER" --workload="$NAME" "${where[@]}" --tpu-type="$TYPE" \
  --num-slices=1 --base-docker-image=python:3.12 --script-dir="$checkout" --max-restarts=10 \
  --restart-on-exit-codes=1,75,143 --command="$line"
