#!/usr/bin/env bash
# Shows a run until Ctrl-C.
#
#     experiments/tpu/watch.sh           TensorBoard here, which reads gs://
#     experiments/tpu/watch.sh --ssh     TensorBoard on the TPU's first VM, seen through ssh
#     experiments/tpu/watch.sh --log     what the first VM prints
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

port=${PORT:-6006}
first=(gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=0)
case ${1:-} in
  --log) run "${first[@]}" --command='tail -n 50 -F run.log' -- -t ;; # -t passes Ctrl-C on.
  --ssh)
    need WORKDIR gs://my-bucket/effnet
    run "${first[@]}" --command="venv/bin/tensorboard --logdir=$(quote "$WORKDIR") --port=$port" \
      -- -t -L "$port:localhost:$port"
    ;;
  '')
    need WORKDIR gs://my-bucket/effnet
    run tensorboard --logdir="$WORKDIR" --port="$port"
    ;;
  *) stop "unexpected argument $1: expected --ssh, --log or none" ;;
esac
