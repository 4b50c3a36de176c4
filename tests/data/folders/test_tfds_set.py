"""Sets that tfds has prepared: those with images and labels are read, others are refused."""

import numpy as np
import pytest
from own_data import SPEC

from cifsel.data import tfds_library
from cifsel.data.folders import tfds_set
from cifsel.data.folders.dataset import PARTS
from cifsel.errors import UserError

CLASSES = ("cat", "Hund", "oiseau")
COUNTS = {"train": 30, "test": 12}


def image(split, number):
    coarse = np.random.default_rng([len(split), number]).integers(0, 256, (4, 4, 3), np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


def write(folder, file_format="tfrecord", labelled=True):
    """Writes a drawn set in the layout of CIFAR-10, by tfds itself."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="no tfds to write a set with")
    features = {"id": tfds.features.Text(), "image": tfds.features.Image(shape=(32, 32, 3))}
    if labelled:
        features["label"] = tfds.features.ClassLabel(names=CLASSES)
    with tfds.core.registered.skip_registration():

        class Drawn10(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.2.0")

            def _info(self):
                all_features = tfds.features.FeaturesDict(features)
                return tfds.core.DatasetInfo(builder=self, features=all_features)

            def _split_generators(self, downloads):
                return {name: self._generate_examples(name) for name in COUNTS}

            def _generate_examples(self, split):
                for number in range(COUNTS[split]):
                    label = CLASSES[number % 3]
                    example = {"id": f"{number}", "image": image(split, number), "label": label}
                    yield number, {name: example[name] for name in features}

    tfds.disable_progress_bar()
    Drawn10(data_dir=str(folder), file_format=file_format).download_and_prepare()


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_prepared_set_is_read_with_its_own_test_part(file_format, tmp_path, monkeypatch):
    write(tmp_path, file_format)
    dataset = tfds_set.load_tfds("drawn10", str(tmp_path), SPEC)
    assert dataset.class_names == tuple(sorted(CLASSES))
    assert [len(getattr(dataset, part)) for part in PARTS] == [24, 6, 12]
    drawn = {image(split, i).tobytes(): CLASSES[i % 3] for split in COUNTS for i in range(30)}
    for part in PARTS:
        split = getattr(dataset, part)
        assert split.images.shape[1:] == (32, 32, 3)  # as they are, not enlarged
        for pixels, label in zip(split.images, split.labels, strict=True):
            assert drawn[pixels.tobytes()] == dataset.class_names[label]
    # The second start reads the store.
    monkeypatch.setattr(tfds_library, "import_tfds", None)
    again = tfds_set.load_tfds("drawn10:1.2.0", str(tmp_path), SPEC)
    assert again.fingerprint == dataset.fingerprint


@pytest.mark.slow
def test_a_set_without_labels_is_refused(tmp_path):
    write(tmp_path, labelled=False)
    with pytest.raises(UserError, match=r"not a tfds set of images with one label each.*'label'"):
        tfds_set.load_tfds("drawn10", str(tmp_path), SPEC)


def test_a_set_that_is_not_there_is_named_with_those_that_are(tmp_path):
    (tmp_path / "mnist").mkdir()
    with pytest.raises(UserError, match=r"no tfds set cifar10 is prepared in .*which has mnist"):
        tfds_set.load_tfds("cifar10", str(tmp_path), SPEC)
    with pytest.raises(UserError, match="has nothing; prepare it by `tfds build cifar10`"):
        tfds_set.load_tfds("cifar10", str(tmp_path / "nowhere"), SPEC)


def test_the_newest_version_is_read(tmp_path):
    for version in ("1.9.0", "1.10.0", "2.0.0"):
        (tmp_path / "x" / version).mkdir(parents=True)
        if version != "2.0.0":  # whose preparation was interrupted
            (tmp_path / "x" / version / "dataset_info.json").write_text("{}")
    assert tfds_set._prepared(tmp_path, "x").name == "1.10.0"
    assert tfds_set._prepared(tmp_path, "x:1.9.0").name == "1.9.0"
