"""A narrow MobileNet, and tensors for it by Keras's names."""

import numpy as np
import pytest
from keras_files import as_keras, template_of


@pytest.fixture(scope="module")
def mobilenet() -> tuple[dict, dict[str, np.ndarray]]:
    template = template_of("mobilenet", alpha=0.25)
    return template, as_keras(template, "mobilenet")
