#!/usr/bin/env bash
# Starts the training on all VMs of the TPU and returns. Arguments go to cifsel.main unchanged:
#
#     WORKDIR=gs://my-bucket/effnet experiments/tpu/run.sh --config=configs/effnet.py
#
# On each VM, ~/run.log has the output. ~/run.status has 'running', or the exit status at the end: 0
# finished, 75 interrupted with everything saved, 143 with nothing to save, 2 bad input. The same
# command continues the run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

line=$(training ../venv/bin/python "$@")
# The trap keeps the shell alive after a SIGTERM to all, so that it can note the exit status.
line="trap : TERM; $line; echo \$? > ../run.status"
on_idle_workers "cd cifsel || exit 1; echo running > ../run.status;\
 nohup bash -c $(quote "$line") >> ../run.log 2>&1 < /dev/null &"
