"""Reading from and writing to gs://, and the message where that cannot be."""

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from paths import REPO

from cifsel import predict, workdir
from cifsel.comparison.runs import read_run
from cifsel.data import cifar
from cifsel.data.photos import grouping, labelled, search
from cifsel.errors import UserError
from cifsel.models.weights import download, h5_file
from cifsel.prediction import predictor
from cifsel.runtime import remote
from cifsel.workdir import clu_writers
from cifsel.workdir.checkpoints import Checkpoints

pytestmark = [pytest.mark.usefixtures("gs"), pytest.mark.slow]
BUCKET = "gs://bucket"


def put(name, content):
    (epath.Path(BUCKET) / name).write_bytes(content)
    return f"{BUCKET}/{name}"


# --- weights and data -----------------------------------------------------------------------------


def weights(seed):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        kernel = np.random.default_rng(seed).normal(size=(3, 3, 3, 8)).astype(np.float32)
        file["conv1/conv1/kernel:0"] = kernel
    return buffer.getvalue(), kernel


@pytest.mark.parametrize("how", ["file", "folder"])
def test_weights_are_copied_once_and_again_when_they_change(gs, how):
    name = "mobilenet_1_0_128_tf_no_top.h5"
    for seed in (1, 2):
        content, kernel = weights(seed)
        address = put(f"weights-{how}/{name}", content + b"\0" * seed)
        copies = set()
        for _ in range(2):
            if how == "file":
                local = download.use_file(address)
            else:
                folder = f"{BUCKET}/weights-{how}"
                options = {"alpha": 1.0, "resolution": 128, "top": False}
                local = download.find_weights("mobilenet", weights_dir=folder, **options)
            copies.add(local.stat().st_ino)
            tensors = h5_file.read_tensors(local)
            np.testing.assert_array_equal(tensors["conv1/kernel"], kernel)
        assert len(copies) == 1


PREPARED = ("a.tfrecord", "dataset_info.json", "z.txt")


@pytest.fixture
def reads(monkeypatch):
    """Stands in for tfds, which prepares what it does not find; the names that it found."""
    copies = []

    def read(source, try_gcs, all_classes):
        folder = source / "cifar100" / "3.0.2"
        folder.mkdir(parents=True, exist_ok=True)
        copies.append(sorted(file.name for file in folder.iterdir()))
        for name in PREPARED:
            if not copies[-1]:
                (folder / name).write_text(name)
            elif (folder / name).read_text() != name:
                raise UserError(f"{source} is damaged")
        return {"images": np.zeros(3)}

    monkeypatch.setattr(cifar, "_read_tfds", read)
    return copies


def test_data_are_read_from_gs_and_put_there_if_they_were_not(gs, reads):
    source = epath.Path(f"{BUCKET}/tfds")
    # Somebody was interrupted while copying.
    put("tfds/cifar100/3.0.2/a.tfrecord", b"half of it")
    for _ in range(2):
        assert cifar._read_copied(source, False).keys() == {"images"}
    assert reads == [[], list(PREPARED)]
    names = [f"tfds/cifar100/3.0.2/{name}" for name in PREPARED]
    assert gs.names("tfds/") == names
    written = [int(gs.storage.objects["bucket"][name]["generation"]) for name in names]
    assert max(written) == written[1]  # dataset_info.json says that the others are there
    put(names[0], b"damaged")
    with pytest.raises(UserError, match=r"^gs://bucket/tfds is damaged"):
        cifar._read_copied(source, False)


# --- checkpoints and other files ------------------------------------------------------------------


def test_a_half_written_checkpoint_is_passed_over(gs):
    folder, tree = epath.Path(f"{BUCKET}/half"), {"a": jnp.arange(6.0)}
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, model=tree, meta={"step": 3})
    put("half/checkpoints/5/model/manifest.ocdbt", b"")
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest == 3
        assert checkpoints.meta() == {"step": 3}
        np.testing.assert_array_equal(checkpoints.model(tree)["a"], np.arange(6))


def test_an_array_is_computed_once_and_removed_in_the_end(gs):
    folder, calls = epath.Path(f"{BUCKET}/arrays"), []

    def compute():
        calls.append(1)
        return np.arange(5)

    for _ in range(2):
        array = workdir.cached_array(folder, "x", compute, lambda: np.arange(5))
        np.testing.assert_array_equal(array, np.arange(5))
    assert len(calls) == 1
    assert gs.names("arrays/") == ["arrays/cache/x.npy"]
    workdir.remove_cached(folder)
    assert gs.names("arrays/") == []


class File:
    """A CLU writer, as far as it matters here."""

    def __init__(self, folder):
        self._path = Path(folder) / "events"

    def write_scalars(self, step, scalars):
        with self._path.open("a") as file:
            file.write(f"{step} ")

    def flush(self):
        pass

    close = flush


def test_summaries_are_copied_now_and_then(gs, monkeypatch):
    writer = clu_writers.Copied(File, epath.Path(f"{BUCKET}/events"))
    writer.write_scalars(1, {})
    assert gs.names("events/") == []
    monkeypatch.setattr(clu_writers, "COPY_SECONDS", 0)
    writer.write_scalars(2, {})
    assert (epath.Path(BUCKET) / "events" / "events").read_text() == "1 2 "
    writer.write_scalars(3, {})
    writer.close()
    assert (epath.Path(BUCKET) / "events" / "events").read_text() == "1 2 3 "


def test_summaries_that_cannot_be_written_are_one_warning(gs, capsys):
    remote.reach(BUCKET)
    writer = clu_writers.Copied(File, epath.Path("gs://forbidden/run"))
    writer.write_scalars(1, {})
    writer.flush()
    writer.close()
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "gs://forbidden/run" in err
    assert "no permission" in err


# --- what is wrong is one line, at once -----------------------------------------------------------


def people(address):
    grouping.people_from_csv(address)


def weights_in(address):
    options = {"alpha": 1.0, "resolution": 128, "top": False, "allow_download": False}
    download.find_weights("mobilenet", weights_dir=address, **options)


def missing(address):
    with contextlib.ExitStack() as stack:
        items = search.find_photos([address], stack)
        raise UserError(f"{address}: {predict._missing(items[0])}")


READERS = (
    labelled.load_photos, people, missing, read_run, predictor.load, download.use_file, weights_in,
)  # fmt: skip


ADDRESSES = {
    "gs://bucket/nowhere/x.h5": "",
    "gs://nobucket/x": "there is no bucket nobucket",
    "gs://forbidden/x": "bucket forbidden is not open to all",
    "s3://bucket/x": "neither a local path nor gs://BUCKET/NAME",
    "gs://": "neither a local path nor gs://BUCKET/NAME",
}


# Each reader with two addresses, and one reader with all.
@pytest.mark.parametrize(
    ("read", "address"),
    [(read, address) for read in READERS for address in list(ADDRESSES)[:2]]
    + [(labelled.load_photos, address) for address in list(ADDRESSES)[2:]],
)
def test_what_cannot_be_read_is_one_line(read, address):
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        read(address)
    message = str(caught.value)
    assert address in message
    assert ADDRESSES[address] in message
    assert "\n" not in message
    assert time.monotonic() - began < 20  # gcsfs alone would try for longer


@pytest.mark.parametrize("bucket", ["nobucket", "forbidden"])
def test_what_cannot_be_written_is_one_line(bucket):
    with pytest.raises(UserError, match=f"^gs://{bucket}/run cannot be reached: .*{bucket}"):
        workdir.make(epath.Path(f"gs://{bucket}/run"), "workdir")


def test_a_bucket_that_may_only_be_read(monkeypatch):
    import gcs_server

    for pattern, handlers in gcs_server.server.HANDLERS:
        if "upload" in pattern:
            monkeypatch.setitem(handlers, "POST", gcs_server.forbid)
    with pytest.raises(UserError, match=r"^workdir gs://bucket/x cannot be written .*permission"):
        workdir.make(epath.Path(f"{BUCKET}/x"), "workdir")


def test_what_orbax_asks_for_is_said(gs):
    with pytest.raises(UserError, match=r"gs://undescribed/run/.*storage\.buckets\.get"):
        Checkpoints(epath.Path("gs://undescribed/run"))


@pytest.fixture
def anew():
    """Nothing is remembered of who can be reached."""

    def forget():
        remote._problem.cache_clear()
        remote._client.cache_clear()

    forget()
    yield
    forget()


def refusal(address):
    with pytest.raises(UserError) as caught:
        remote.path(address)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_network(anew, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    began = time.monotonic()
    assert "no answer from Google Cloud Storage" in refusal(f"{BUCKET}/x")
    assert time.monotonic() - began < 20


def test_no_credentials(anew, gs, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", gs.url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert "no credentials (Your default credentials were not found" in refusal("gs://forbidden/x")


def test_without_gcsfs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'cifsel[gcs]'" in refusal(f"{BUCKET}/x")
    assert remote.path("~/x") == Path("~/x").expanduser()


@pytest.mark.process
def test_the_command_says_it_in_one_line(gs):
    done = subprocess.run(
        [sys.executable, "-m", "cifsel.main", "--config=configs/quickstart.py",
         "--workdir=gs://nobucket/run"],
        cwd=REPO,
        # Of google-api-core, on Pythons that it will soon no longer support.
        env=os.environ | {"PYTHONWARNINGS": "ignore::FutureWarning"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: gs://nobucket/run cannot be reached: there is no bucket nobucket:"
        " check the name, or make it"
    ]
