#!/usr/bin/env bash
# Deletes the TPU of the same settings, whether or not something runs on it. The run on
# gs:// stays.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

case $KIND in
  vm) run gcloud compute tpus tpu-vm delete "$NAME" "${where[@]}" --quiet ;;
  # --force also deletes the TPU of the resource.
  queued) run gcloud compute tpus queued-resources delete "$NAME" "${where[@]}" --force --quiet ;;
esac
