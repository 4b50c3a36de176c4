"""The real command: what is wrong with its input is one line and status 2, and nothing is left."""

import json
import os
import subprocess
import sys

import h5py
import pytest
from etils import epath
from paths import REPO, TESTS

from cifsel.workdir import lock

pytestmark = pytest.mark.process

# Each command in a fork of one process that has imported what takes seconds, and draws few images.
# `run_module` does what `python -m cifsel.main` does.
FORK = """
import json, os, runpy, sys, warnings
warnings.simplefilter("ignore")  # About threads that this process does not have.
import cifsel.sweep
print("tensorflow" in sys.modules, flush=True)
import tiny_run
tiny_run.drawn_images.draw_classes = tiny_run.few_images
for name, arguments in json.load(open(sys.argv[1])).items():
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        open(f"{name}.status", "w").write(str(status))
        continue
    for file, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(f"{name}.{file}", os.O_CREAT | os.O_WRONLY), stream)
    sys.argv = ["cifsel.main", *arguments]
    try:
        runpy.run_module("cifsel.main", run_name="__main__", alter_sys=True)
    except SystemExit as done:
        sys.stdout.flush()
        os._exit(done.code)  # Tidying up TensorFlow would take a second.
"""

EFFNET, QUICKSTART = "--config=configs/effnet.py", "--config=configs/quickstart.py"
SELFIE = "--config=configs/selfie.py"
DRAWN = (EFFNET, "--config.dataset=drawn", "--config.train_examples=50")
# name: arguments and words that the message must have. WORK stands for a temporary folder.
CASES = {
    "recipe": ((f"{EFFNET}:nope",), ("'nope'", "finetune, probe, longer, notebook")),
    "no recipes": ((f"{QUICKSTART}:nope",), ("'nope'", "scratch")),
    "no config file": (("--config=configs/nope.py",), ("configs/nope.py", "No such file")),
    "field": ((EFFNET, "--config.batch_sise=3"), ("'batch_sise'", "did you mean batch_size?")),
    "nested field": ((EFFNET, "--config.augment.flipp=True"), ("'augment.flipp'", "augment.flip")),
    "type": ((EFFNET, "--config.batch_size=many"), ("config.batch_size is 'many'", "int")),
    "none": ((EFFNET, "--config.epochs=None"), ("config.epochs is 'None'", "int")),
    "too large": ((EFFNET, "--config.image_size=9999"), ("image_size is 9999", "32 to 1024")),
    "zero": ((EFFNET, "--config.batch_size=0"), ("config.batch_size is 0", "1 to")),
    "share": ((EFFNET, "--config.dropout=1"), ("config.dropout is 1.0", "below 1")),
    "choice": ((EFFNET, "--config.optimizer=adam"), ("'adam'", "adamw, sgd")),
    "flag": ((EFFNET, "--confg.seed=1"), ("confg",)),
    "field of task 2": ((SELFIE, "--config.photoz=x"), ("'photoz'", "mean photos")),
    "no photos": ((SELFIE, "--config.init_from=imagenet"), ("config.photos is None", "sub-folder")),
    "no start": ((SELFIE, "--config.photos=x"), ("config.init_from is None", "imagenet")),
    "no such photos": (
        (SELFIE, "--config.init_from=imagenet", "--config.photos=WORK/nowhere"),
        ("WORK/nowhere", "no such folder or zip"),
    ),
    "word": ((EFFNET, "probe"), ("'probe'", "--flag=value")),
    "models": ((QUICKSTART, "--config.models=('x',)"), ("config.models", "mobilenet")),
    "too few": ((*DRAWN[:2], "--config.train_examples=7"), ("train_examples is 7", "50")),
    "folder": ((*DRAWN, "--workdir=WORK/file"), ("WORK/file", "cannot be written")),
    "other run": (
        (*DRAWN, "--workdir=WORK/other"),
        ("WORK/other", "another config", "seed: 5 -> 0"),
    ),
    "busy": ((*DRAWN, "--workdir=WORK/busy"), ("WORK/busy", "in use by process", "--workdir")),
    "no data": (
        (EFFNET,),
        ("WORK/tfds", "no network", "data_dir", "configs/quickstart.py"),
    ),
    "no weights": (DRAWN, ("efficientnetv2-b0_notop.h5", "WORK/cache", "weights_dir")),
    "truncated": ((*DRAWN, "--config.weights=WORK/cut.h5"), ("WORK/cut.h5",)),
    "not there": ((*DRAWN, "--config.weights=WORK/nope.h5"), ("WORK/nope.h5", "no such")),
}


def environment(folder):
    """Without data, weights, network and accelerators."""
    nowhere = "http://127.0.0.1:9"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CIFSEL", "TFDS", "XDG"))}
    return kept | {
        "CIFSEL_CACHE": str(folder / "cache"),
        "TFDS_DATA_DIR": str(folder / "tfds"),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(REPO), str(TESTS)]),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere),
        **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
    }


def assert_one_line(status, out, err, *words):
    assert status == 2, out + err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in out + err
    for word in words:
        assert word in err


# --- what is refused -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """The folder in which all of CASES were run, with what they printed and their status.

    Also what the process itself said.
    """
    folder = tmp_path_factory.mktemp("refused")
    (folder / "file").write_text("mine")
    (folder / "other").mkdir()
    settings = {"seed": 5, "name": "effnet"}
    (folder / "other" / "config.json").write_text(json.dumps(settings))
    with h5py.File(folder / "whole.h5", "w") as file:
        file["kernel"] = range(1000)
    (folder / "cut.h5").write_bytes((folder / "whole.h5").read_bytes()[:3000])
    cases = {}
    for name, (arguments, _) in CASES.items():
        if not any(argument.startswith("--workdir") for argument in arguments):
            arguments = (*arguments, f"--workdir=WORK/of {name}")  # noqa: PLW2901 - the case with its default
        cases[str(folder / name)] = [a.replace("WORK", str(folder)) for a in arguments]
    (folder / "cases.json").write_text(json.dumps(cases))
    script = folder / "fork.py"
    script.write_text(FORK)
    with lock.alone(epath.Path(folder) / "busy"):
        done = subprocess.run(
            [sys.executable, script, folder / "cases.json"],
            cwd=REPO,
            env=environment(folder),
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    return folder, done.stdout


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_wrong_input_is_one_line(refused, name):
    folder, _ = refused
    status, out, err = (
        (folder / f"{name}.{kind}").read_text() for kind in ("status", "out", "err")
    )
    words = [word.replace("WORK", str(folder)) for word in CASES[name][1]]
    assert_one_line(int(status), out, err, *words)


@pytest.mark.slow
def test_wrong_input_leaves_nothing(refused):
    folder, _ = refused
    for name in CASES:
        run = folder / f"of {name}"
        assert not run.exists() or list(run.iterdir()) == []
    assert (folder / "file").read_text() == "mine"
    assert [path.name for path in (folder / "other").iterdir()] == ["config.json"]
    assert not list((folder / "cache").rglob("*.h5*"))


@pytest.mark.slow
def test_tensorflow_stays_away(refused):
    """Until it is needed."""
    assert refused[1] == "False\n"


def test_without_a_config(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cifsel.main", "--workdir=x"],
        cwd=REPO,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert_one_line(done.returncode, done.stdout, done.stderr, "--config", "configs/effnet.py")
