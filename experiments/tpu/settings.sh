# shellcheck shell=bash
# What the scripts of this folder share: sourced by them, never run. Set in the environment:
#
#   PROJECT  Google Cloud project                           (required)
#   ZONE     zone with TPUs of that type, us-central1-a     (required)
#   WORKDIR  gs:// folder of the run                        (required where something is trained)
#   NAME     name of the TPU, and of what holds it          (cifsel)
#   TYPE     accelerator type                               (v5litepod-8)
#   RUNTIME  software of its VMs                            (the one advised for TYPE)
#   KIND     'vm', now or not at all; 'queued', in a queue  (vm)
#   REPO     git repository to install from                 (not set: the commit checked out here)
#   REF      branch, tag or commit to install               (HEAD)
#   DRY_RUN  anything: print the commands, run none         (not set)

NAME=${NAME:-cifsel} TYPE=${TYPE:-v5litepod-8} KIND=${KIND:-vm} REPO=${REPO:-} REF=${REF:-HEAD}

stop() { # One line, as for any wrong input.
  echo "error: $1" >&2
  exit 2
}

need() { # need VARIABLE EXAMPLE
  [[ -n ${!1:-} ]] || stop "$1 is not set: export $1=$2, for example"
}

quote() { # The words on one line, such that a shell reads them as they are.
  local word line=''
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_./:=@%+,-]*) word="'$(printf %s "$word" | sed "s/'/'\\\\''/g")'" ;;
    esac
    line="$line $word"
  done
  printf '%s\n' "${line# }"
}

run() { # Runs a command, or prints it.
  if [[ -n ${DRY_RUN:-} ]]; then quote "$@"; else "$@"; fi
}

on_workers() { # Runs a line of shell on all VMs of the TPU at once, each in its home folder.
  run gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=all --command="$1"
}

on_idle_workers() { # The same where nothing trains. The lock lasts as long as what it starts.
  on_workers "exec 9> run.lock; flock -n 9 || { echo 'a run is under way' >&2; exit 1; }; $1"
}

training() { # training PYTHON ARGUMENT...: the line that trains, for a shell in the checkout.
  local python=$1 word variable given='' words=(PYTHONUNBUFFERED=1)
  shift
  need WORKDIR gs://my-bucket/effnet
  [[ $WORKDIR == gs://* ]] || stop "WORKDIR is $WORKDIR, lost with the TPU: give a gs:// folder"
  for word in "$@"; do
    [[ $word != --config=* ]] || given=yes
    [[ $word != --workdir* ]] || stop "set WORKDIR instead of giving $word"
  done
  [[ -n $given ]] || stop 'which config? Give --config=configs/effnet.py, for example'
  for variable in TFDS_DATA_DIR CIFSEL_WEIGHTS; do # Folders of this machine mean nothing there.
    [[ ${!variable:-} != gs://* ]] || words+=("$variable=${!variable}")
  done
  quote env "${words[@]}" "$python" -m cifsel.main "$@" --config.distributed=auto \
    --workdir="$WORKDIR"
}

need PROJECT my-project
need ZONE us-central1-a
where=(--project="$PROJECT" --zone="$ZONE")
[[ $NAME =~ ^[a-z][a-z0-9-]{0,38}[a-z0-9]$ ]] || stop "NAME is $NAME: take a-z, 0-9 and dashes"
case $KIND in vm | queued) ;; *) stop "KIND is $KIND: expected vm or queued" ;; esac
if [[ -z ${RUNTIME:-} ]]; then
  case $TYPE in # What Google advises for JAX; see "TPU software versions" in its manual.
    v5litepod-*) RUNTIME=v2-alpha-tpuv5-lite ;;
    v6e-*) RUNTIME=v2-alpha-tpuv6e ;;
    v5p-*) RUNTIME=v2-alpha-tpuv5 ;;
    v[234]-*) RUNTIME=tpu-ubuntu2204-base ;;
    *) need RUNTIME v2-alpha-tpuv5-lite ;;
  esac
fi
