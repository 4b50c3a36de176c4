# shellcheck shell=bash
# Settings and functions that the scripts of this folder source. Set in the environment:
#
#   PROJECT  Google Cloud project                           (required)
#   ZONE     zone with TPUs of that type, us-central1-a     (required)
#   WORKDIR  gs:// folder of the run                        (required where something is trained)
#   NAME     name of the TPU, and of what holds it          (cifsel)
#   TYPE     accelerator type                               (v5litepod-8)
#   RUNTIME  software of its VMs                            (the one advised for TYPE)
#   KIND     'vm', at once or an error, or 'queued'         (vm)
#   REPO     git repository to install from                 (not set: the commit checked out here)
#   REF      branch, tag or commit to install               (HEAD)
#   DRY_RUN  anything: print the commands, run none         (not set)

NAME=${NAME:-cifsel} TYPE=${TYPE:-v5litepod-8} KIND=${KIND:-vm} REPO=${REPO:-} REF=${REF:-HEAD}

stop() { # Ends with an error message of one line.
  echo "error: $1" >&2
  exit 2
}

need() { # need VARIABLE EXAMPLE
  [[ -n ${!1:-} ]] || stop "$1 is not set: export $1=$2, for example"
}

quote() { # Prints words on one line, quoted for a shell.
  local word line=''
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_./:=@%+,-]*) word="'$(printf %s "$word" | sed "s/'/'\\\\''/g")'" ;;
    esac
    line="$line $word"
  done
  printf '%s\n' "${line# }"
}

run() { # Runs a command, or prints it with DRY_RUN.
  if [[ -n ${DRY_RUN:-} ]]; then quote "$@"; else "$@"; fi
}

on_workers() { # Runs a line of shell on all VMs of the TPU at once, in the home folder.
  run gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=all --command="$1"
}

on_idle_workers() { # The same if nothing trains there. Started processes hold the lock.
  on_workers "exec 9> run.lock; flock -n 9 || { echo 'a run is under way' >&2; exit 1; }; $1"
}

training() { # training PYTHON ARGUMENT...: prints the line that trains in the checkout.
  local python=$1 word variable given='' words=(PYTHONUNBUFFERED=1)
  shift
  need WORKDIR gs://my-bucket/effnet
  [[ $WORKDIR == gs://* ]] || stop "WORKDIR is $WORKDIR, lost with the TPU: give a gs:// folder"
  for word in "$@"; do
    [[ $word != --config=* ]] || given=yes
    [[ $word != --workdir* ]] || stop "set WORKDIR instead of giving $word"
  done
  [[ -n $given ]] || stop 'which config? Give --config=configs/effnet.py, for example'
  for variable in TFDS_DATA_DIR CIFSEL_WEIGHTS; do # Folders of this machine do not exist there.
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
  case $TYPE in # Advised for JAX by "TPU software versions" in the manual of Google.
    v5litepod-*) RUNTIME=v2-alpha-tpuv5-lite ;;
    v6e-*) RUNTIME=v2-alpha-tpuv6e ;;
    v5p-*) RUNTIME=v2-alpha-tpuv5 ;;
    v[234]-*) RUNTIME=tpu-ubuntu2204-base ;;
    *) need RUNTIME v2-alpha-tpuv5-lite ;;
  esac
fi
