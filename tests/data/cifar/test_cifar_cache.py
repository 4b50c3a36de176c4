"""The cache of CIFAR-100's arrays: where it is, and when it is used."""

import numpy as np
import pytest
from cifar_files import files_in, load, python, small_arrays

from cifsel.data import cifar, cifar_cache, cifar_classes


@pytest.fixture
def reads(monkeypatch):
    """Replaces the read through tfds; the list of the sources it was asked for."""
    asked = []

    def read(source, try_gcs, all_classes):
        asked.append(str(source))
        return small_arrays(seed=len(asked))

    for name in ("_read_tfds", "_read_copied"):
        monkeypatch.setattr(cifar, name, read)
    monkeypatch.setattr(cifar_classes, "CLASS_NAMES", ("bear", "tiger"))
    return asked


def test_second_start_reads_the_cache_beside_the_data(tmp_path, reads):
    first, second = load(tmp_path), load(tmp_path)
    assert reads == [str(tmp_path)]
    assert files_in(tmp_path) == ["cifsel-cifar100-3.0.2-v1.npz"]
    assert first.fingerprint == second.fingerprint
    assert second.class_names == ("bear", "tiger")
    np.testing.assert_array_equal(first.test.images, small_arrays(seed=1)["test_images"])
    assert (len(second.train), len(second.val), len(second.test)) == (20, 4, 6)


def test_arrays_of_other_classes_are_read_anew(tmp_path, reads, monkeypatch):
    first = load(tmp_path)
    monkeypatch.setattr(cifar_classes, "CLASS_NAMES", ("bus", "pickup_truck"))
    assert load(tmp_path).fingerprint != first.fingerprint
    assert reads == [str(tmp_path)] * 2


def test_read_only_data_folder_is_left_alone(tmp_path, reads):
    data = tmp_path / "data"
    data.mkdir(mode=0o555)
    load(data, cache_dir=str(tmp_path / "cache"))
    load(data, cache_dir=str(tmp_path / "cache"))
    assert len(reads) == 1
    assert files_in(data) == []
    assert len(files_in(tmp_path / "cache")) == 1


def test_data_folders_share_a_cache_folder_without_mixing(tmp_path, reads):
    folders = [tmp_path / name for name in "ab"]
    prints = [load(folder, cache_dir=str(tmp_path / "cache")).fingerprint for folder in folders * 2]
    assert reads == [str(folder) for folder in folders]
    assert prints[0] == prints[2] != prints[1] == prints[3]
    assert not folders[0].exists()  # not ours to create


def test_where_the_cache_is_by_default(tmp_path, home, reads, monkeypatch):
    load("gs://somewhere/data")
    assert files_in(home / ".cache/cifsel")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load("gs://somewhere/data")
    assert files_in(tmp_path / "xdg/cifsel")
    monkeypatch.setenv("CIFSEL_CACHE", str(tmp_path / "mine"))
    load("gs://somewhere/data")
    assert files_in(tmp_path / "mine")
    assert len(reads) == 3


def test_where_the_data_are_by_default(tmp_path, home, reads, monkeypatch):
    load()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "given"))
    load()
    load("~/here")
    assert reads == [
        str(home / "tensorflow_datasets"),
        str(tmp_path / "given"),
        str(home / "here"),
    ]


def test_no_place_for_a_cache_is_no_obstacle(tmp_path, reads):
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    for _ in range(2):
        assert len(load("gs://somewhere/data", cache_dir=str(obstacle / "below")).train) == 20
    assert len(reads) == 2


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1000])


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def change_the_arrays(file):
    """A whole archive whose content is not what was written."""
    with np.load(file) as archive:
        arrays = dict(archive)
    arrays["train_labels"] = arrays["train_labels"][::-1]
    np.savez(file, **arrays)


def empty(file):
    file.write_bytes(b"")


def something_else(file):
    np.savez(file, a=np.zeros(3))


def objects(file):
    np.savez(file, sha256=np.array([{}], dtype=object))


@pytest.mark.parametrize(
    "damage", [truncate, flip_a_bit, change_the_arrays, empty, something_else, objects]
)
def test_damaged_cache_is_replaced(tmp_path, reads, capsys, damage):
    load(tmp_path)
    file = tmp_path / "cifsel-cifar100-3.0.2-v1.npz"
    damage(file)
    capsys.readouterr()
    load(tmp_path)
    assert len(reads) == 2
    warning = capsys.readouterr().err
    assert str(file) in warning
    assert warning.count("\n") == 1
    load(tmp_path)
    assert len(reads) == 2


def test_failed_write_leaves_nothing_behind(tmp_path, reads, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    load(tmp_path, cache_dir=str(tmp_path / "cache"))
    assert files_in(tmp_path) == []


@pytest.mark.process
def test_cache_suffices_without_tensorflow(tmp_path):
    cifar_cache.write(small_arrays(), [tmp_path / "cifsel-cifar100-3.0.2-v1.npz"])
    code = """if True:
        import sys
        sys.modules["tensorflow"] = sys.modules["tensorflow_datasets"] = None
        from cifsel.data import cifar, cifar_classes
        cifar_classes.CLASS_NAMES = ("bear", "tiger")
        print(len(cifar.load_cifar("DIR", val_per_class=2).train))
    """.replace("DIR", str(tmp_path))
    assert python(code) == "20"


@pytest.mark.process
def test_no_tensorflow_and_no_cache(tmp_path):
    code = """if True:
        import sys
        sys.modules["tensorflow"] = sys.modules["tensorflow_datasets"] = None
        from cifsel.data import cifar
        from cifsel.errors import UserError
        try:
            cifar.load_cifar("DIR")
        except UserError as error:
            print(error)
    """.replace("DIR", str(tmp_path))
    message = python(code)
    assert "tensorflow" in message
    assert "copy cifsel-cifar100-3.0.2-v1.npz" in message
    assert "\n" not in message
