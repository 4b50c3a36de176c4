import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from paths import DATA, REPO
from PIL import Image

from cifsel.data import cifar, cifar_cache, cifar_classes, splits, tfds_library
from cifsel.errors import UserError

TFDS = DATA / "tfds"
PREPARED = TFDS / "cifar100" / "3.0.2"

real_data = pytest.mark.skipif(not PREPARED.is_dir(), reason=f"no prepared CIFAR-100 at {PREPARED}")


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Nothing of the user's is read or written."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("TFDS_DATA_DIR", "CIFSEL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def python(code, **environment):
    """Runs code in a fresh interpreter that must be quiet; returns what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.strip()


def small_arrays(seed=0):
    """The content of a cache, with 12 training images and 3 test images of each of 2 classes."""
    rng = np.random.default_rng(seed)
    arrays = {
        "class_names": np.array(["bear", "tiger"]),
        "coarse_names": np.array(["large_carnivores"]),
        "coarse_of": np.zeros(2, np.int32),
    }
    for name, count in (("train", 12), ("test", 3)):
        arrays[f"{name}_images"] = rng.integers(0, 256, (2 * count, 32, 32, 3), np.uint8)
        arrays[f"{name}_labels"] = np.tile(np.arange(2, dtype=np.int32), count)
        arrays[f"{name}_ids"] = np.arange(2 * count, dtype=np.int32)
    return arrays


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


def load(data_dir=None, **options):
    return cifar.load_cifar(None if data_dir is None else str(data_dir), val_per_class=2, **options)


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- the cache


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


# --- no data, or bad data


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


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


def link(target, prepared):
    """Prepared data without copying them."""
    target.mkdir(parents=True)
    for file in prepared.iterdir():
        (target / file.name).symlink_to(file)


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


# --- tfds's file formats


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


# --- the real thing


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder, filled by a first read, and the fingerprint of what was read."""
    folder = tmp_path_factory.mktemp("cache")
    before = files_in(TFDS)
    fingerprint = cifar.load_cifar(str(TFDS), cache_dir=str(folder)).fingerprint
    assert files_in(TFDS) == before
    return folder, fingerprint


@pytest.fixture(scope="module")
def dataset(cache):
    return cifar.load_cifar(str(TFDS), cache_dir=str(cache[0]))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.process
@real_data
def test_later_starts_need_no_tensorflow(cache):
    folder, fingerprint = cache
    code = f"""if True:
        import sys
        from cifsel.data import cifar
        dataset = cifar.load_cifar({str(TFDS)!r})
        print("tensorflow" in sys.modules, dataset.fingerprint)
    """
    assert python(code, CIFSEL_CACHE=str(folder)) == f"False {fingerprint}"


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.process
@real_data
def test_sizes_and_names(dataset):
    parts = {"train": (dataset.train, 450), "val": (dataset.val, 50), "test": (dataset.test, 100)}
    for part, per_class in parts.values():
        assert part.images.shape == (50 * per_class, 32, 32, 3)
        assert part.images.dtype == np.uint8
        assert np.bincount(part.labels).tolist() == [per_class] * 50
        assert part.labels.dtype == part.ids.dtype == np.int32
        assert (np.diff(part.ids) > 0).all()
    assert not set(dataset.train.ids) & set(dataset.val.ids)
    assert list(dataset.class_names) == sorted(dataset.class_names)
    assert "tiger" in dataset.class_names
    assert "pear" not in dataset.class_names
    assert dataset.coarse_names == cifar_classes.ANIMALS_AND_PEOPLE
    assert np.bincount(dataset.coarse_of).tolist() == [5] * 10
    parts = (dataset.train, dataset.val, dataset.test)
    assert dataset.fingerprint == splits.fingerprint(*parts)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.process
@real_data
def test_known_duplicates(dataset):
    """Facts about the original: they hold only if every pixel is right."""
    training = np.concatenate([dataset.train.images, dataset.val.images])
    distinct = {image.tobytes() for image in training}
    assert len(training) - len(distinct) == 14  # all of CIFAR-100's 50,000 - 49,986
    # Of the ten in all of CIFAR-100.
    assert sum(image.tobytes() in distinct for image in dataset.test.images) == 9


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.process
@real_data
def test_division_by_seed(cache, dataset):
    other = cifar.load_cifar(str(TFDS), cache_dir=str(cache[0]), seed=1, val_per_class=10)
    assert np.bincount(other.val.labels).tolist() == [10] * 50
    np.testing.assert_array_equal(other.test.images, dataset.test.images)
    assert other.fingerprint != dataset.fingerprint
    assert set(other.train.ids) | set(other.val.ids) == set(dataset.train.ids) | set(
        dataset.val.ids
    )


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.process
@real_data
def test_agrees_with_the_records_read_by_hand(dataset):
    import tensorflow as tf

    names = (PREPARED / "label.labels.txt").read_text().split()
    records = tf.data.TFRecordDataset(str(PREPARED / "cifar100-test.tfrecord-00000-of-00001"))
    checked = 0
    for record in records.take(60).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        name = names[feature["label"].int64_list.value[0]]
        number = int(feature["id"].bytes_list.value[0].decode().removeprefix("test_"))
        positions = np.flatnonzero(dataset.test.ids == number)
        assert len(positions) == (name in dataset.class_names)
        if len(positions):
            image = Image.open(io.BytesIO(feature["image"].bytes_list.value[0]))
            np.testing.assert_array_equal(dataset.test.images[positions[0]], np.asarray(image))
            assert dataset.class_names[dataset.test.labels[positions[0]]] == name
            checked += 1
    assert checked > 15
