"""The command as a process: imports, pipes, devices and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from bright_model import lines_of, put
from etils import epath
from paths import REPO
from tiny_model import CROP

from cifsel import predict
from cifsel.errors import ExitCode
from cifsel.models import classifier
from cifsel.workdir.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def checkpoint(variables_of, tmp_path_factory):
    """The workdir of a small run of task 2."""
    folder = tmp_path_factory.mktemp("selfie")
    variables = variables_of(classifier.build("efficientnetv2-mini", num_classes=2), 32)
    tree = {kind: {"backbone": variables[kind]["backbone"]} for kind in variables}
    kernel = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32)
    meta = {
        "task": "selfie",
        "l2": 0.01,
        "init_from": "imagenet",
        "config": {},
        "backbone": {"model": "efficientnetv2-mini", "alpha": 1.0},
        "class_names": ["happy", "sad"],
        "places": [["block2a", 1]],
        "image_size": 32,
        "resize": "bicubic",
        "mirror": False,
        "crop": CROP,
        "temperature": 1.0,
        "sure_from": None,
        "unlike_from": None,
    }
    with Checkpoints(epath.Path(folder)) as saved:
        saved.save(0, model=tree | {"head": {"kernel": kernel, "bias": kernel[0]}}, meta=meta)
    return folder


@pytest.mark.process
@pytest.mark.slow
def test_starts_without_what_it_does_not_need(checkpoint, tmp_path):
    """TensorFlow alone would take longer than everything else."""
    (path,) = put(tmp_path, **{"\udcff": 25})
    code = (
        "import sys; from cifsel import predict; predict.main();"
        "needless = {'tensorflow', 'matplotlib', 'clu.metric_writers', 'tensorboard', 'fsspec',"
        " 'h5py', 'scipy.stats', 'scipy.spatial', 'gcsfs'};"
        "sys.exit(str(needless & set(sys.modules)))"
    )
    env = os.environ | {
        "CIFSEL_CACHE": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    given = [f"--checkpoint={checkpoint}", path, "-"]
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        input=os.fsencode(path),
        env=env,
        cwd=REPO,
        capture_output=True,
        check=False,
    )
    assert done.stderr.decode().strip() == "set()"
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert "unsure (" in lines[0]
    assert r"/\udcff.png" in lines[0]
    assert any((tmp_path / "cache" / "compiled").iterdir())


@pytest.mark.process
@pytest.mark.slow
def test_a_closed_pipe_ends_it_quietly(checkpoint, tmp_path):
    (path,) = put(tmp_path, a=25)
    command = f"'{sys.executable}' -m cifsel.predict --checkpoint='{checkpoint}' '{path}'"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"],
        cwd=REPO,
        env=os.environ | {"CIFSEL_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{ExitCode.CLOSED_PIPE}\n", "")


@pytest.mark.process
@pytest.mark.slow
def test_all_devices_compute_and_answers_are_those_of_one(checkpoint, tmp_path, capsys):
    """Also those of a last batch that does not fill all devices."""
    paths = put(tmp_path, **{f"p{i:02}": 10 * i for i in range(18)})
    given = [f"--checkpoint={checkpoint}", *paths, "--jsonl"]
    code = (
        "import sys, jax; from cifsel import predict; from cifsel.prediction import predictor;"
        "assert (jax.device_count(), predictor.batch_size()) == (4, 16);"
        "predict.main()"
    )
    settings = {
        "CIFSEL_CACHE": str(tmp_path / "cache"),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        cwd=REPO,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    predict.run(predict.parser().parse_args(given))
    alone = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for ours, other in zip(map(json.loads, done.stdout.splitlines()), alone, strict=True):
        assert ours["photo"] == other["photo"]
        assert ours["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.process
@pytest.mark.slow
def test_ctrl_c_ends_it_while_threads_decode(tmp_path):
    """Without waiting for them, and with a whole line for each photo that was answered."""
    paths = put(tmp_path, **{f"p{i:02}": 100 for i in range(60)})
    file = tmp_path / "all.jsonl"
    code = (
        "import sys, time; sys.path.insert(0, 'tests/predict'); import bright_model;"
        "from cifsel import predict; from cifsel.data.photos import search;"
        "last = sys.argv.pop(1); decode = search.decode;"
        "search.decode = lambda s, n: (time.sleep(0 if n < last else 60), decode(s, n))[1];"
        "predict._load = bright_model.made; predict.main()"
    )
    given = [*paths, "--checkpoint=selfie", "--jsonl", f"--output={file}"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, paths[30], *given],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (file.exists() and file.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", ExitCode.INTERRUPTED)
    assert out.startswith("stopped; give the same command with --resume")
    assert time.monotonic() - began < 30  # A decoding takes 60 s here.
    assert [json.loads(line)["photo"] for line in lines_of(file)] == paths[: len(lines_of(file))]
