"""A small whole file of every kind that cifsel reads from others, which fuzz.py damages."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from etils import epath
from PIL import ExifTags, Image

from cifsel import config as config_lib
from cifsel.comparison import reviewed
from cifsel.comparison.candidates import Candidate, candidate_names
from cifsel.comparison.runs import read_run
from cifsel.comparison.scores import candidate_cost, candidate_scores
from cifsel.data.photos import decoding, grouping, labelled
from cifsel.errors import UserError
from cifsel.evaluation.cost import Cost
from cifsel.evaluation.split_score import ClassScore, CoarseScore, SplitScore
from cifsel.models.weights import h5_file
from cifsel.prediction import restoring
from cifsel.runtime import zips
from cifsel.training.progress import Epoch, Progress
from cifsel.training.results import RunMetrics
from cifsel.workdir import model_file
from cifsel.workdir.model_file import INT8, Facts
from cifsel.workdir.model_meta import ClassifierMeta
from cifsel.workdir.predictions import SPLITS
from cifsel.workdir.provenance import Devices, Provenance
from configs import effnet

_rng = np.random.default_rng(0)
_SCENE = _rng.integers(0, 255, (24, 40, 3), np.uint8)


@dataclasses.dataclass(frozen=True)
class File:
    """A file, its content, and the function that reads it."""

    path: Path
    content: bytes
    read: Callable[[Path], object]


def files(folder: Path) -> dict[str, File]:
    """Writes a file of each kind to a folder of its own."""
    kinds: dict[str, tuple[str, bytes, Callable[[Path], object]]] = {
        "HDF5": ("w.h5", _weights(), h5_file.read_tensors),
        "HDF5, chunks": ("w.h5", _weights(chunks=True), h5_file.read_tensors),
        "HDF5, newest": ("w.h5", _weights("latest"), h5_file.read_tensors),
        "HDF5 of Keras 3": ("w.weights.h5", _weights_of_keras_3(), h5_file.read_tensors),
        ".keras": ("w.keras", _keras_zip(), h5_file.read_tensors),
    }
    for name, (form, options) in _PHOTOS.items():
        kinds[name] = (
            "photo",
            encoded(form, **options),
            lambda path: decoding.decode(path, "photo"),
        )
    kinds |= {
        "zip of photos": ("photos.zip", _zip(), _read_zip),
        "CSV": ("people.csv", b"photo,person\na/1.jpg,Ann\n" * 9, grouping.people_from_csv),
        "npz": ("a.npz", _npz(np.savez), _read_arrays),
        "npz, packed": ("a.npz", _npz(np.savez_compressed), _read_arrays),
        "metrics.json": ("metrics.json", _metrics(), _read_run),
        "predictions.npz": ("predictions.npz", _predictions(), _read_run),
        "best.json": ("best.json", b'{"run": "run"}', _read_pointer),
        "model file": ("model.safetensors", _model_file(), _read_model_file),
        "labels of people": ("people.csv", b"test_index,confirmed\n3,yes\n4,no\n", _read_reviewed),
    }
    written = {}
    for number, (kind, (name, content, read)) in enumerate(kinds.items()):
        below = folder / str(number)
        (below / "run" / "checkpoints").mkdir(parents=True)
        (below / "metrics.json").write_bytes(_metrics())
        (below / "predictions.npz").write_bytes(_predictions())
        (below / name).write_bytes(content)
        written[kind] = File(below / name, content, read)
    return written


_PHOTOS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {}),
    "JPEG, progressive": ("JPEG", {"progressive": True}),
    "PNG": ("PNG", {}),
    "GIF": ("GIF", {}),
    "WebP": ("WEBP", {}),
    "BMP": ("BMP", {}),
    "TIFF": ("TIFF", {}),
    "TIFF, packed": ("TIFF", {"compression": "tiff_lzw"}),
    "AVIF": ("AVIF", {}),
    "HEIC": ("HEIF", {}),
}


def encoded(form: str, **options: Any) -> bytes:
    """A small photo in a format of Pillow, with EXIF where the format has it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    if form in ("JPEG", "PNG", "WEBP", "AVIF"):
        options["exif"] = exif
    if form == "HEIF":
        try:
            import pillow_heif  # Here, so that --help does not need it.
        except ImportError:
            raise UserError("HEIC photos need pillow-heif: pip install 'cifsel[heic]'") from None
        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(_SCENE).save(file, form, **options)
    return file.getvalue()


def _weights(version: str = "earliest", **options: Any) -> bytes:
    shapes = {"conv/conv/kernel:0": (3, 3, 3, 8), "bn/bn/moving_variance:0": (8,)}
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=version) as file:
        file.attrs["layer_names"] = [b"conv", b"bn"]
        for name, shape in shapes.items():
            file.create_dataset(name, data=_rng.uniform(0, 1, shape).astype("f4"), **options)
    return memory.getvalue()


def _weights_of_keras_3() -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["layers/conv2d/vars/0"] = _rng.uniform(0, 1, (3, 3, 3, 8)).astype("f4")
        file["layers/conv2d/vars"].attrs["name"] = "conv1"
    return memory.getvalue()


def _keras_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.weights.h5", _weights_of_keras_3())
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
            archive.writestr(name, encoded("PNG"))
    return file.getvalue()


def _read_zip(path: Path) -> None:
    labelled.load_photos(str(path), skip_unreadable=True)


def _npz(save: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    save(file, a=_SCENE, names=np.array(["one", "two"]))
    return file.getvalue()


def _read_arrays(path: Path) -> None:
    try:
        zips.read_arrays(path, 10**7)
    except ValueError as error:  # Callers do the same.
        raise UserError(f"{path}: {error}") from error


def _predictions() -> bytes:
    labels = np.arange(8, dtype=np.int32) % 2
    logits = np.eye(2, dtype=np.float32)[labels]
    arrays = {"class_names": np.array(["bear", "tiger"])}
    for split in SPLITS:
        arrays |= {f"{split}_logits": logits, f"{split}_labels": labels, f"{split}_ids": labels}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _metrics() -> bytes:
    score = SplitScore(
        examples=8,
        accuracy=1.0,
        accuracy_interval=(0.7, 1.0),
        balanced_accuracy=1.0,
        majority=0.5,
        top5=1.0,
        loss=0.1,
        macro_f1=1.0,
        ece=0.0,
        coarse_accuracy=1.0,
        per_class={"bear": ClassScore(4, 1.0, (0.5, 1.0), 1.0, 1.0)},
        per_coarse={"mammals": CoarseScore(8, 1.0, (0.7, 1.0), 1.0)},
        top_confusions=(),
    )
    epoch = Epoch(1, 2, 0.2, 0.9, 0.1, 1.0, 1e-3, 0.5, 9.0, 0.0)
    metrics = RunMetrics(
        name="effnet",
        recipe="finetune",
        model="mobilenet",
        dataset="drawn",
        examples={"train": 8, "val": 8, "test": 8},
        fingerprint="f" * 64,
        config=config_lib.to_json(effnet.get_config()),
        val=score,
        test=score,
        training=Progress([epoch], epoch, 1.0),
        probe=None,
        cost=Cost(9, 9.0, 2, 9.0, {"test": 1.0}),
        weights=None,
        provenance=Provenance(
            {"python": "3"}, Devices("cpu", "cpu", 1, "x86_64", 2), "python", None, "2026-01-01"
        ),
    )
    return json.dumps(metrics.to_json()).encode()


def _read_run(path: Path) -> None:
    candidate = Candidate("model", (read_run(str(path.parent)),))
    for split in SPLITS:
        str([candidate_scores(candidate, split), candidate_cost(candidate)])
    candidate_names(candidate.runs)


_TREE = {"params": {"kernel": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)}}


def _model_file() -> bytes:
    config = config_lib.to_json(effnet.get_config())
    meta = ClassifierMeta(config, ("ant", "bee", "cat"), (), (), 32, "f" * 64, None)
    facts = Facts(INT8, meta.to_json(), {}, 1.0, None, {"0.9": 0.1}, {"seed": 0}, "none", "0.1.0")
    return model_file.to_bytes(model_file.encode(_TREE, INT8), facts, np.array([0.5, 0.9]))


def _read_model_file(path: Path) -> None:
    model_file.read(path).model(_TREE)


def _read_reviewed(path: Path) -> None:
    ids, labels = np.arange(9), np.zeros(9, np.int64)
    rows = reviewed.read(str(path))
    reviewed.match(rows, str(path), ids=ids, labels=labels, class_names=("ant",))


def _read_pointer(path: Path) -> None:
    restoring.run_of(epath.Path(path.parent))
