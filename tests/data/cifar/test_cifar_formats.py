"""CIFAR-100 in every file format of tfds, and as it is downloaded."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cifar_files import link, load, one_line, small_arrays

from cifsel.data import cifar, cifar_classes, tfds_library
from cifsel.errors import UserError


def write_tfds(folder, file_format, count=20):
    """Writes drawn images by tfds, as CIFAR-100 has them. Returns the arrays of each split."""
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    splits_drawn = {
        name: {
            "id": np.array([f"{name}_{number}" for number in range(count)]),
            "image": rng.integers(0, 256, (count, 32, 32, 3), np.uint8),
            "label": np.arange(count) % 10,
            "coarse_label": np.arange(count) % 2,
        }
        for name in ("train", "test")
    }
    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(num_classes=10),
            "coarse_label": tfds.features.ClassLabel(num_classes=2),
        }
    )

    with tfds.core.registered.skip_registration():

        class Cifar100(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("3.0.2")

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, downloads):
                return {name: self._generate_examples(name) for name in splits_drawn}

            def _generate_examples(self, name):
                for number in range(count):
                    drawn = splits_drawn[name].items()
                    yield number, {key: values[number] for key, values in drawn}

    tfds.disable_progress_bar()
    Cifar100(data_dir=str(folder), file_format=file_format).download_and_prepare()
    return splits_drawn


@pytest.fixture
def selected(monkeypatch):
    """Replaces the choice of the 50 classes; what was read, for each split in order of its ids."""
    seen = {}

    def select(raw, *names):
        for name, arrays in raw.items():
            order = np.argsort([int(text.split(b"_")[1]) for text in arrays["id"]])
            seen[name] = {key: np.asarray(values)[order] for key, values in arrays.items()}
        return small_arrays()

    monkeypatch.setattr(cifar, "_select", select)
    monkeypatch.setattr(cifar, "_SIZES", {"train": 20, "test": 20})
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["tfrecord", "array_record", "parquet"])
def test_every_file_format_of_tfds_is_read(tmp_path, selected, file_format, capfd):
    drawn = write_tfds(tmp_path, file_format)
    capfd.readouterr()
    cifar.load_cifar(str(tmp_path), val_per_class=2)
    assert selected.keys() == drawn.keys()
    for name, arrays in drawn.items():
        assert selected[name].keys() == arrays.keys()
        for key, values in arrays.items():
            expected = values.astype(bytes) if key == "id" else values
            np.testing.assert_array_equal(selected[name][key].astype(expected.dtype), expected)
        assert selected[name]["image"].dtype == np.uint8
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_download_arrives_in_place(tmp_path, selected, monkeypatch):
    """All but the network: tfds's part of the download is replaced by linking the files."""
    import tensorflow_datasets as tfds

    write_tfds(tmp_path / "there", "tfrecord")
    configs = []

    def download(self, *, download_config):
        configs.append(download_config)
        link(Path(self.data_dir), tmp_path / "there/cifar100/3.0.2")
        (Path(self.data_dir).parents[1] / "downloads").mkdir()

    monkeypatch.setattr(cifar, "_reachable", lambda url: True)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    monkeypatch.setattr(cifar_classes, "CLASS_NAMES", ("bear", "tiger"))
    assert len(load(tmp_path / "new", try_gcs=True).train) == 20
    assert {p.name for p in (tmp_path / "new").iterdir()} == {
        "cifar100",
        "cifsel-cifar100-3.0.2-v1.npz",
    }
    assert [config.try_download_gcs for config in configs] == [True]
    assert len(selected["train"]["label"]) == 20


def test_file_format_without_its_package(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'riegeli'")

    info = SimpleNamespace(file_format=SimpleNamespace(value="riegeli"))
    builder = SimpleNamespace(info=info, as_dataset=missing)
    tfds = SimpleNamespace(builder=lambda *_, **__: builder, as_numpy=lambda read: read)
    monkeypatch.setattr(tfds_library, "import_tfds", lambda *_: tfds)
    (tmp_path / "cifar100/3.0.2").mkdir(parents=True)
    with pytest.raises(UserError, match=r"as riegeli, which needs a package") as caught:
        cifar.load_cifar(str(tmp_path))
    assert "as tfrecord" in one_line(caught)
    assert "delete" not in str(caught.value)
