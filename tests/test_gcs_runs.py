"""Whole runs of both tasks with everything on gs://, where a server of this machine stands in."""

import json
import re
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny_run
from etils import epath
from PIL import Image

from cifsel import predict, task1, workdir
from cifsel.comparison import comparing
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.results import best_run
from cifsel.comparison.runs import read_run
from cifsel.data import drawn_faces
from cifsel.data.photos import grouping, labelled
from cifsel.prediction import gradcam, restoring
from cifsel.runtime import remote
from cifsel.selfie import run as selfie_run
from cifsel.workdir import summaries
from configs import effnet
from configs import selfie as selfie_config

pytestmark = [pytest.mark.process, pytest.mark.slow]
BUCKET = "gs://bucket"
RUN, COMPARED = f"{BUCKET}/run", f"{BUCKET}/compared"
SMALL = tiny_run.SMALL | {"model": "efficientnetv2-mini", "init_head": "random"}


@pytest.fixture(scope="module")
def tiny():
    """Nothing in these runs is larger than it must be."""
    with pytest.MonkeyPatch.context() as patch:
        tiny_run.make_small(patch)
        tiny_run.leave_out_report(patch)
        yield


def config_of(**fields):
    config = effnet.get_config()
    config.update(SMALL | fields)
    return config


def run(config, folder):
    return task1.train_and_evaluate(config, str(folder), summaries.Summaries())


def put(name, content):
    (epath.Path(BUCKET) / name).write_bytes(content)
    return f"{BUCKET}/{name}"


# --- a run of task 1, and what is made of it -----------------------------------------------------


def start(commands, log, **fields):
    """Starts the command of a run on gs://."""
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return commands.start(log, "--config=configs/effnet.py", *flags, f"--workdir={RUN}")


def wait_for_checkpoint(command, server):
    """Waits until a checkpoint of the run is whole, or the command has ended."""
    deadline = time.monotonic() + 100
    while command.poll() is None and time.monotonic() < deadline:
        if any(name.endswith("/commit_success.txt") for name in server.names("run/")):
            break
        time.sleep(0.01)


@pytest.fixture(scope="module")
def interrupted(tiny, gs, tiny_commands, tmp_path_factory):
    """Fields of a run on gs:// that SIGTERM stopped and the same command finished; what it said."""
    fields = SMALL | {"checkpoint_minutes": 0.0, "learning_rate": 0.01, "test_examples": 50}
    folder = tmp_path_factory.mktemp("interrupted")
    stopped = start(tiny_commands, folder / "stopped.txt", **fields)
    wait_for_checkpoint(stopped, gs)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(100) == 75, stopped.said()
    assert "run/metrics.json" not in gs.names()
    again = start(tiny_commands, folder / "again.txt", **fields | {"checkpoint_minutes": 5.0})
    assert again.wait(100) == 0, again.said()
    return fields, again.said()


def test_a_lost_network_is_one_line(gs, monkeypatch, tiny_commands, tmp_path):
    import gcs_server

    with gcs_server.Server() as server:
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            monkeypatch.setenv(name, server.url)
        fields = SMALL | {"checkpoint_minutes": 0.0, "test_examples": 50}
        command = start(tiny_commands, tmp_path / "log", **fields)
        wait_for_checkpoint(command, server)
        server.__exit__()
        assert command.wait(200) == 75, command.said()
    # Whoever notices first. What gcsfs and TensorStore say of their own may come before it.
    noticed = "gs:// cannot be reached any more|checkpoint .* could not be written"
    assert re.match(f"error: ({noticed}) ", command.said().splitlines()[-1]), command.said()


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


def test_event_files_are_there_and_whole(gs, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step in (3, 6):  # An interrupted process, and the next.
        with summaries.open_writer(f"{BUCKET}/summaries") as writer:
            writer.write_scalars(step, {"val/loss": 1.0})
    names = [name for name in gs.names("summaries/val/") if "tfevents" in name]
    assert len(names) == 2
    for name in names:
        (tmp_path / Path(name).name).write_bytes((epath.Path(BUCKET) / name).read_bytes())
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    # Both files may be of the same second, and then have no order.
    assert sorted(event.step for event in events.Tensors("loss")) == [3, 6]


@pytest.fixture(scope="module")
def compared(interrupted):
    """The folder of a comparison of two runs; all of it is on gs://."""
    fields, _ = interrupted
    # Each checkpoint is dozens of files, for which the server here takes long.
    few = {"model": "mobilenet", "checkpoint_minutes": 5.0}
    run(config_of(**fields | few), f"{BUCKET}/other")
    with pytest.MonkeyPatch.context() as patch:  # Drawing takes seconds.
        patch.setattr(gradcam, "heat", lambda _, images, __: np.ones((len(images), 1, 1)))
        tiny_run.leave_out_drawing(patch)
        return comparing.compare([RUN, f"{BUCKET}/other"], COMPARED), COMPARED


def test_two_runs_are_compared_and_the_pointer_leads_to_one(compared, gs):
    comparison, folder = compared
    assert [entry.runs for entry in comparison.candidates] == [(RUN,), (f"{BUCKET}/other",)]
    assert workdir.read_json(epath.Path(folder) / comparing.COMPARISON) == json.loads(
        json.dumps(comparison.to_json())
    )
    assert len(gs.names("compared/figures/")) > 3
    assert len([name for name in gs.names("compared/") if "tfevents" in name]) == 1
    best = workdir.read_json(epath.Path(folder) / workdir.BEST)
    assert str(restoring.run_of(epath.Path(folder))) == best["run"]
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selfie_run, "run_learning_curve", lambda *_: ())
        return classify()


def classify():
    config = selfie_config.get_config()
    config.update({"photos": f"{BUCKET}/photos/all", "init_from": COMPARED, "image_size": 32})
    config.update({"depths": (1.0,), "grids": (1,), "l2": (1e-1,), "folds": 3, "repeats": 1})
    config.update({"permutations": 0, "leave_one_out": 0})
    config.compare_crops = False
    found = selfie_run.evaluate_and_train(config, f"{BUCKET}/selfie", summaries.Summaries())
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
