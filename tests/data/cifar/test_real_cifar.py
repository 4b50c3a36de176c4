"""The real CIFAR-100: sizes, names, known duplicates and pixels."""

import io

import numpy as np
import pytest
from cifar_files import PREPARED, TFDS, files_in, python, real_data
from PIL import Image

from cifsel.data import cifar, cifar_classes, splits


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
