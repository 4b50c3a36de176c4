#!/usr/bin/env bash
# Creates the TPU that settings.sh describes. It costs money until delete.sh deletes it.
#
#     experiments/tpu/create.sh [--spot]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

[[ $# -le 1 && ${1:---spot} == --spot ]] || stop "unexpected argument: $0 takes --spot alone"
case $KIND in
  vm)
    run gcloud compute tpus tpu-vm create "$NAME" "${where[@]}" --accelerator-type="$TYPE" \
      --version="$RUNTIME" "$@"
    ;;
  queued) # The TPU has the name of the resource, so that other scripts need not know the kind.
    run gcloud compute tpus queued-resources create "$NAME" "${where[@]}" --node-id="$NAME" \
      --accelerator-type="$TYPE" --runtime-version="$RUNTIME" "$@"
    ;;
esac
