#!/usr/bin/env bash
# Deletes what create.sh created with the same settings, whether or not something runs on it.
# The run's folder on gs:// stays.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

case $KIND in
  vm) run gcloud compute tpus tpu-vm delete "$NAME" "${where[@]}" --quiet ;;
  # --force: with the TPU in it.
  queued) run gcloud compute tpus queued-resources delete "$NAME" "${where[@]}" --force --quiet ;;
esac
