#!/usr/bin/env bash
# Installs cifsel on all VMs of the TPU: the checkout in ~/cifsel, Python and packages in ~/venv.
# Installs the commit REF of REPO, or of this checkout without uncommitted changes. Safe to repeat.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$0")/settings.sh"

if [[ -n $REPO ]]; then
  from=$REPO commit=$REF
else
  cd "$(dirname "$0")"
  commit=$(git rev-parse --verify --quiet "$REF^{commit}") || stop "REF is $REF: no commit here"
  bundle=${TMPDIR:-/tmp}/$NAME.bundle from=cifsel.bundle
  # One file with the history, so that a run can record its commit.
  run git bundle create --quiet "$bundle" --branches --tags HEAD
  run gcloud compute tpus tpu-vm scp "$bundle" "$NAME:$from" "${where[@]}" --worker=all
fi
# The VMs have Python 3.10, which is too old for cifsel and JAX. uv installs another.
on_idle_workers "set -e; rm -rf cifsel; git clone --quiet $(quote "$from") cifsel;\
 git -C cifsel checkout --quiet $(quote "$commit"); python3 -m pip install --quiet --user uv;\
 test -x venv/bin/pip || python3 -m uv venv --quiet --seed --python=3.12 venv;\
 venv/bin/pip install --quiet './cifsel[tpu]'"
