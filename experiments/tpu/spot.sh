#!/usr/bin/env bash
# Trains on spot TPUs until the run is finished. Whenever the TPU is taken away, waits for another,
# installs, and gives the same command again, which continues from the last checkpoint. Deletes the
# TPU at the end. Takes the arguments of run.sh and looks every POLL seconds. May be stopped and
# started again. While it is stopped, nothing is restarted and nothing is deleted.
set -euo pipefail
here=$(dirname "$0")
export KIND=queued
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$here/settings.sh"

training python "$@" > /dev/null # Reports wrong settings before anything is created.
wrong=0 now='' before='' # wrong: failures since the training was last seen running.

finished() { run gcloud storage ls "$WORKDIR/metrics.json"; }
queue() {
  run gcloud compute tpus queued-resources list "${where[@]}" --filter="name ~ /$NAME\$" \
    --format='value(state.state)'
}
node() { run gcloud compute tpus tpu-vm describe "$NAME" "${where[@]}" --format='value(state)'; }
statuses() { on_workers 'cat run.status 2> /dev/null || echo new'; }
say() { echo "$(date +%H:%M:%S) $NAME: $1" >&2; }

look() { # Prints the state of the TPU in a word, or the statuses of its VMs if it is ready.
  local state
  state=$(queue) || { echo offline && return; } # The state is unknown, so nothing is done.
  [[ $state != ACTIVE ]] || state=$(node) || state=UNREACHABLE
  case $state in
    '') echo none ;;
    READY) { statuses || echo unreachable; } 2> /dev/null | sort -u | xargs ;;
    SUSPEND* | FAILED | PREEMPTED | TERMINATED | STOPP*) echo gone ;;
    *) echo "$state" | tr '[:upper:]' '[:lower:]' ;;
  esac
}

give_up() {
  say "giving up: $1"
  on_workers 'tail -n 20 run.log' || true
  "$here/delete.sh"
  exit 1
}

if [[ -n ${DRY_RUN:-} ]]; then # Prints each command once.
  finished && queue && "$here/create.sh" --spot && node && "$here/install.sh"
  "$here/run.sh" "$@" && statuses && "$here/delete.sh"
  exit
fi
trap 'say "may be there still, and cost: KIND=queued $here/delete.sh"; exit 130' INT TERM
until finished > /dev/null 2>&1; do
  now=$(look)
  [[ $now == "$before" ]] || say "$now"
  before=$now wrong=$((wrong + 1))
  case $now in
    *running*) wrong=0 ;;
    *new*) "$here/install.sh" && "$here/run.sh" "$@" || true ;;
    none) "$here/create.sh" --spot || true ;;
    gone | *75* | *143*) "$here/delete.sh" || true ;;
    2 | 130) give_up "the training ended with status $now" ;;
    offline | creating | accepted | waiting* | provisioning | deleting) wrong=$((wrong - 1)) ;;
  esac # Any other state: look again. Training fails on all VMs shortly before one is reported gone.
  ((wrong < ${PATIENCE:-15})) || give_up "$wrong things went wrong, and nothing was trained"
  sleep "${POLL:-60}"
done
say "finished: $WORKDIR/metrics.json"
[[ $(look) == none ]] || "$here/delete.sh"
