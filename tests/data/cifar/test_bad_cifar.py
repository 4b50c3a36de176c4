"""Missing or damaged data of CIFAR-100 are one line, and leave nothing behind."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cifar_files import PREPARED, link, one_line, real_data

from cifsel.data import cifar, cifar_classes, tfds_library
from cifsel.errors import UserError


@pytest.mark.slow
def test_no_data_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_reachable", lambda url: False)
    with pytest.raises(UserError) as caught:
        cifar.load_cifar(str(tmp_path / "a/b"))
    message = one_line(caught)
    for part in ("a/b", "--config.data_dir", "TFDS_DATA_DIR", "configs/quickstart.py"):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_unreachable_address_is_noticed_at_once():
    assert not cifar._reachable("http://127.0.0.1:9/archive.tar.gz")


def break_download(monkeypatch, error):
    import tensorflow_datasets as tfds

    def download(self, **options):
        half = Path(self.data_dir).parent / "half"
        half.mkdir(parents=True)
        (half / "written").write_text("...")
        raise error

    monkeypatch.setattr(cifar, "_reachable", lambda url: True)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)


@pytest.mark.slow
def test_failed_download_leaves_nothing_behind(tmp_path, monkeypatch):
    break_download(monkeypatch, OSError("connection\nlost"))
    with pytest.raises(UserError) as caught:
        cifar.load_cifar(str(tmp_path / "a/b"))
    assert "connection lost" in one_line(caught)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interrupted_download_keeps_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "other").write_text("mine")
    break_download(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        cifar.load_cifar(str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


@pytest.mark.slow
def test_folder_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_reachable", lambda url: True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/below"):
        cifar.load_cifar(str(tmp_path / "file/below"))


@pytest.mark.slow
def test_partly_prepared_data(tmp_path):
    (tmp_path / "cifar100/3.0.2").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cifar100/3\.0\.2 cannot be read") as caught:
        cifar.load_cifar(str(tmp_path))
    assert "delete that folder" in one_line(caught)


@pytest.mark.parametrize("ids", [None, [b"0"] * 3, ["train_0"] * 3])
def test_records_of_something_else(tmp_path, monkeypatch, ids):
    (tmp_path / "cifar100/3.0.2").mkdir(parents=True)
    names = cifar_classes._FINE_OF
    fine = [name for group in names.values() for name in group]
    records = {"label": np.arange(50), "coarse_label": np.arange(50) // 5, "id": ids}
    features = {"label": fine, "coarse_label": list(names)}
    builder = SimpleNamespace(
        as_dataset=lambda **_: records,
        info=SimpleNamespace(
            file_format=SimpleNamespace(value="tfrecord"),
            features={name: SimpleNamespace(names=names) for name, names in features.items()},
        ),
    )
    tfds = SimpleNamespace(builder=lambda *_, **__: builder, as_numpy=lambda read: read)
    monkeypatch.setattr(tfds_library, "import_tfds", lambda *_: tfds)
    monkeypatch.setattr(cifar, "_SIZES", {"train": 50, "test": 50})
    with pytest.raises(UserError, match=r"cifar100/3\.0\.2 cannot be read") as caught:
        cifar.load_cifar(str(tmp_path))
    one_line(caught)


@pytest.mark.slow
def test_damaged_description(tmp_path):
    (tmp_path / "cifar100/3.0.2").mkdir(parents=True)
    (tmp_path / "cifar100/3.0.2/dataset_info.json").write_text('{"name":')
    with pytest.raises(UserError, match=r"cifar100/3\.0\.2 cannot be read") as caught:
        cifar.load_cifar(str(tmp_path))
    one_line(caught)


@pytest.mark.real
@real_data
@pytest.mark.slow
def test_truncated_record_file(tmp_path):
    link(tmp_path / "cifar100/3.0.2", PREPARED)
    record = tmp_path / "cifar100/3.0.2/cifar100-train.tfrecord-00000-of-00001"
    with record.open("rb") as stream:
        beginning = stream.read(1_000_000)
    record.unlink()
    record.write_bytes(beginning)
    with pytest.raises(UserError, match=r"cifar100/3\.0\.2 cannot be read") as caught:
        cifar.load_cifar(str(tmp_path))
    one_line(caught)
    assert not list(tmp_path.glob("*.npz"))
