#!/usr/bin/env bash
# Kills a real run with SIGKILL in the middle, gives the same command again, and compares the result
# with that of a run that was left alone. Prints both accuracies; exits 1 if anything differs.
#
#     TFDS_DATA_DIR=DIR CIFSEL_WEIGHTS=DIR experiments/kill_and_resume.sh /tmp/kill
set -euo pipefail
cd "$(dirname "$0")/.."
root=${1:?give a folder that does not exist yet}
mkdir "$root"
command=(python -m cifsel.main --config=configs/effnet.py --config.image_size=64
  --config.train_examples=2000 --config.test_examples=1000 --config.epochs=2
  --config.checkpoint_minutes=0.1)

"${command[@]}" --workdir="$root/whole" > "$root/whole.log" 2>&1

"${command[@]}" --workdir="$root/killed" > "$root/killed.log" 2>&1 &
# With the first checkpoint there, the run is somewhere in its first epoch or just after it.
# A checkpoint that is still being written has a longer name.
until ls "$root/killed/checkpoints" 2> /dev/null | grep -qx '[0-9]*'; do
  kill -0 $! || { echo 'the run ended before it could be killed'; exit 1; }
  sleep 0.2
done
sleep 3
kill -9 $!
wait $! || true
test ! -e "$root/killed/metrics.json" || { echo 'killed too late'; exit 1; }
"${command[@]}" --workdir="$root/killed" 2>&1 | tee "$root/resumed.log" | grep --text resuming

python - "$root" << 'END'
import json
import sys
from pathlib import Path

import numpy as np

root = Path(sys.argv[1])
runs = [json.loads((root / name / "metrics.json").read_text()) for name in ("whole", "killed")]
logits = [np.load(root / name / "predictions.npz")["test_logits"] for name in ("whole", "killed")]
for name, run in zip(("left alone", "killed and resumed"), runs):
    print(f"{name}: test accuracy {run['test']['accuracy']:.4f}, loss {run['test']['loss']:.6f}")
same = runs[0]["test"] == runs[1]["test"] and np.array_equal(*logits)
print("identical to the last bit" if same else "DIFFERENT")
sys.exit(not same)
END
