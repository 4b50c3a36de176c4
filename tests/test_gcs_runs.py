"""Whole runs of both tasks with everything on gs://, where a server of this machine stands in."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image

from cifsel import build, compare, predict, train, workdir
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.results import best_run
from cifsel.comparison.runs import read_run
from cifsel.data import drawn_faces, drawn_images
from cifsel.data.photos import grouping, labelled
from cifsel.models import classifier
from cifsel.prediction import predictor
from cifsel.reports import run_report
from cifsel.runtime import remote
from cifsel.selfie.run import evaluate_and_train
from cifsel.workdir import summaries
from configs import effnet
from configs import selfie as selfie_config

pytestmark = [pytest.mark.usefixtures("quick_compiling"), pytest.mark.process, pytest.mark.slow]
TESTS = Path(__file__).parent
BUCKET = "gs://bucket"
RUN, COMPARED = f"{BUCKET}/run", f"{BUCKET}/compared"
DRAWN = drawn_images.draw_classes
SMALL = {
    "model": "efficientnetv2-mini",
    "dataset": "drawn",
    "weights": "none",
    "init_head": "random",
    "image_size": 32,
    "train_size": 0,
    "batch_size": 40,
    "epochs": 2,
}


def few(**_):
    """Stands in for `synthetic.draw_classes`."""
    return DRAWN(train_per_class=2, val_per_class=1, test_per_class=1, seed=0)


@pytest.fixture(scope="module")
def tiny(build_tiny):
    """Nothing in these runs is larger than it must be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "build", build_tiny)
        patch.setattr(classifier, "build", build_tiny)
        patch.setattr(drawn_images, "draw_classes", few)
        for drawing in ("_draw_samples", "_draw_page"):  # These take seconds.
            patch.setattr(run_report.RunReport, drawing, lambda *_: None)
        yield


def config_of(**fields):
    config = effnet.get_config()
    config.update(SMALL | fields)
    return config


def run(config, folder):
    return train.train_and_evaluate(config, str(folder), summaries.Summaries())


def put(name, content):
    (epath.Path(BUCKET) / name).write_bytes(content)
    return f"{BUCKET}/{name}"


# --- a run of task 1, and what is made of it -----------------------------------------------------

# The command, with the same stand-ins as above.
COMMAND = """
from absl import app, logging
import test_gcs_runs, tiny_model
from cifsel import build, main
from cifsel.config import flag
from cifsel.data import drawn_images
from cifsel.reports.run_report import RunReport
build.build, drawn_images.draw_classes = tiny_model.build_tiny, test_gcs_runs.few
RunReport._draw_samples = RunReport._draw_page = lambda *_: None
logging.set_verbosity(logging.WARNING)
app.run(main.main, flags_parser=flag.parse_flags)
"""


@contextlib.contextmanager
def command(**fields):
    """The process of a run on gs://."""
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    settings = {"PYTHONPATH": paths, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--config=configs/effnet.py", *flags, f"--workdir={RUN}"],
        cwd=TESTS.parent,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def interrupted(tiny, gs):
    """Fields of a run on gs:// that SIGTERM stopped and the same command finished; what it said."""
    fields = SMALL | {"checkpoint_minutes": 0.0, "learning_rate": 0.01, "test_examples": 50}
    with command(**fields) as process:
        deadline = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            if any(name.endswith("/commit_success.txt") for name in gs.names("run/")):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 75, out + err
    assert "run/metrics.json" not in gs.names()
    with command(**fields) as process:
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    return fields, out


def test_a_lost_network_is_one_line(gs, monkeypatch):
    import gcs_server

    with gcs_server.Server() as server:
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            monkeypatch.setenv(name, server.url)
        with command(**SMALL | {"checkpoint_minutes": 0.0, "test_examples": 50}) as process:
            deadline = time.monotonic() + 100
            while process.poll() is None and time.monotonic() < deadline:
                if any(name.endswith("/commit_success.txt") for name in server.names("run/")):
                    break
                time.sleep(0.01)
            server.__exit__()
            out, err = process.communicate(timeout=200)
    assert process.returncode == 75, out + err
    # Whoever notices first. What gcsfs and TensorStore say of their own may come before it.
    noticed = "gs:// cannot be reached any more|checkpoint .* could not be written"
    assert re.match(f"error: ({noticed}) ", err.splitlines()[-1]), err


def without_times(metrics):
    for volatile in ("cost", "command", "finished"):
        del metrics[volatile]
    del metrics["training"]["seconds"], metrics["config"]["checkpoint_minutes"]
    for entry in metrics["training"]["history"]:
        del entry["images_per_second"], entry["waiting"]
    for name in ("images_per_second", "waiting"):
        metrics["training"]["best"].pop(name)
    return metrics


def test_a_run_is_interrupted_and_ends_like_one_of_this_machine(interrupted, tmp_path):
    fields, said = interrupted
    assert re.search(r"resuming after \d epochs? and \d steps?", said)
    there = workdir.read_json(epath.Path(RUN) / workdir.METRICS)
    run(config_of(**fields | {"checkpoint_minutes": 5.0}), tmp_path / "run")
    here = workdir.read_json(epath.Path(tmp_path) / "run" / workdir.METRICS)
    assert without_times(there) == without_times(here)
    names = ("config.json", "metrics.json", "predictions.npz", "checkpoints")
    assert {name.name for name in epath.Path(RUN).iterdir()} >= set(names)
    # Nothing of gs:// is taken for a folder here.
    assert not (Path.cwd() / "gs:").exists()


def test_event_files_are_there_and_whole(interrupted, gs, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    names = [name for name in gs.names("run/val/") if "tfevents" in name]
    assert len(names) == 2  # of the interrupted process and the next
    for name in names:
        (tmp_path / Path(name).name).write_bytes((epath.Path(BUCKET) / name).read_bytes())
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert [event.step for event in events.Tensors("loss")] == [3, 6]


@pytest.fixture(scope="module")
def compared(interrupted):
    """The folder of a comparison of two runs; all of it is on gs://."""
    fields, _ = interrupted
    run(config_of(**fields | {"model": "mobilenet"}), f"{BUCKET}/other")
    return compare.compare([RUN, f"{BUCKET}/other"], COMPARED), COMPARED


def test_two_runs_are_compared_and_the_pointer_leads_to_one(compared, gs):
    comparison, folder = compared
    assert [entry.runs for entry in comparison.candidates] == [(RUN,), (f"{BUCKET}/other",)]
    assert workdir.read_json(epath.Path(folder) / compare.COMPARISON) == json.loads(
        json.dumps(comparison.to_json())
    )
    assert len(gs.names("compared/figures/")) > 3
    assert len([name for name in gs.names("compared/") if "tfevents" in name]) == 1
    best = workdir.read_json(epath.Path(folder) / workdir.BEST)
    assert str(predictor.run_of(epath.Path(folder))) == best["run"]
    assert best["run"] in (RUN, f"{BUCKET}/other")


def test_a_pointer_to_a_run_below_may_be_moved(interrupted, tmp_path):
    chosen = Candidate("one", (read_run(RUN),))
    assert best_run(epath.Path(BUCKET), chosen).run == "run"
    assert best_run(epath.Path(tmp_path), chosen).run == RUN


# --- photos, task 2, and predictions --------------------------------------------------------------


@pytest.fixture(scope="module")
def faces(gs, tmp_path_factory):
    """A folder of photos here and its like on gs://, and a zip of each class, here and there."""
    here = tmp_path_factory.mktemp("photos")
    drawn = drawn_faces.draw_faces(per_class=6)
    for name, image in zip(drawn.names, drawn.images, strict=True):
        (here / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(here / "all" / name)
        put(f"photos/all/{name}", (here / "all" / name).read_bytes())
        with zipfile.ZipFile(here / f"{Path(name).parent}6.zip", "a") as archive:
            archive.write(here / "all" / name, Path(name).name)
    for file in here.glob("*.zip"):
        put(f"photos/{file.name}", file.read_bytes())
    put("photos/all/.hidden", b"x")
    # The object that Google's console leaves where somebody has made a folder.
    remote._client()[0].bucket("bucket").blob("photos/all/happy/").upload_from_string(b"")
    return here


def same(one, other):
    assert one.names == other.names
    assert one.class_names == other.class_names == ("happy", "sad")
    for here, there in zip(one.images, other.images, strict=True):
        np.testing.assert_array_equal(here, there)


def test_photos_of_a_folder_and_of_zips_are_those_of_this_machine(faces):
    same(labelled.load_photos(f"{BUCKET}/photos/all"), labelled.load_photos(str(faces / "all")))
    zips = labelled.load_photos(f"{BUCKET}/photos/happy6.zip,{BUCKET}/photos/sad6.zip")
    same(zips, labelled.load_photos(f"{faces}/happy6.zip,{faces}/sad6.zip"))
    # A folder with a zip of each class, one of which is here.
    same(labelled.load_photos(f"{BUCKET}/photos/happy6.zip,{faces}/sad6.zip"), zips)


def test_people_are_read(faces):
    address = put("people.csv", "\ufeffphoto,person\nhappy/1.png,Zoë\n".encode())
    assert grouping.people_from_csv(address) == {"happy/1.png": "Zoë"}


@pytest.fixture(scope="module")
def classified(compared, faces):
    """The workdir of task 2 on gs://, made from photos and a comparison that lie there too."""
    config = selfie_config.get_config()
    config.update({"photos": f"{BUCKET}/photos/all", "init_from": COMPARED, "image_size": 32})
    config.update({"depths": (1.0,), "grids": (1,), "l2": (1e-1,), "repeats": 1})
    config.update({"permutations": 0, "leave_one_out": 0, "tuned_layers": 0})
    found = evaluate_and_train(config, f"{BUCKET}/selfie", summaries.Summaries())
    assert found["photos"]["per_class"] == {"happy": 6, "sad": 6}
    return f"{BUCKET}/selfie"


@pytest.fixture
def predicted(capsys, monkeypatch):
    """(folder, arguments) -> what the command says of photos, by their paths in the folder."""

    def run(folder, *arguments):
        monkeypatch.setattr(sys, "argv", ["predict", *arguments, "--json"])
        predict.main()
        found = json.loads(capsys.readouterr().out)
        return {one["photo"].removeprefix(str(folder)): one["probabilities"] for one in found}

    return run


def test_predictions_from_gs_are_those_of_this_machine(classified, faces, gs, tmp_path, predicted):
    for name in gs.names("selfie/checkpoints/"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((epath.Path(BUCKET) / name).read_bytes())
    given, folder = ("/all", "/sad6.zip", "/all/s*/[12].png"), f"{BUCKET}/photos"
    flags = [f"--checkpoint={classified}", f"--explain={BUCKET}/explained"]
    there = predicted(folder, *flags, *(folder + one for one in given))
    assert len(there) == 12 + 6
    assert len(gs.names("explained/")) == 12 + 6 + 2
    here = (str(faces) + one for one in given)
    assert predicted(faces, f"--checkpoint={tmp_path / 'selfie'}", *here) == there
