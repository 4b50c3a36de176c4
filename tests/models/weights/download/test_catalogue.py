"""The catalogue of published weights: names, hashes, and models without any."""

import pytest
from published_weights import refused

from cifsel.models.weights import catalogue


def test_mobilenet_has_one_file_per_width_and_size() -> None:
    names = {
        catalogue.published("mobilenet", alpha=alpha, resolution=size, top=top).name
        for alpha in (0.25, 0.5, 0.75, 1.0)
        for size in (128, 160, 192, 224)
        for top in (True, False)
    }
    assert len(names) == 32
    assert {"mobilenet_2_5_160_tf.h5", "mobilenet_7_5_224_tf_no_top.h5"} <= names


def test_efficientnet_takes_no_notice_of_alpha_and_resolution() -> None:
    file = catalogue.published("efficientnetv2-s", alpha=3.0, resolution=7, top=False)
    assert file.name == "efficientnetv2-s_notop.h5"
    assert file.md5 == "af0682fb74e8c54910f2d4393339c070"


@pytest.mark.parametrize(
    ("model", "kwargs", "words"),
    [
        ("mobilenet", {"alpha": 0.3}, ("alpha=0.3", "0.25, 0.5, 0.75, 1.0")),
        ("mobilenet", {"resolution": 96}, ("weights_resolution=96", "128, 160, 192, 224")),
        ("efficientnetv2-mini", {}, ("model=efficientnetv2-mini", "efficientnetv2-b0")),
        ("b0", {}, ("model=b0",)),
    ],
)
def test_nothing_published(model: str, kwargs: dict, words: tuple[str, ...]) -> None:
    refused(*words, "weights=none", model=model, **kwargs)
