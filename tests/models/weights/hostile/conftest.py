"""A good weight file, for tests to damage."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Tensors = dict[str, np.ndarray]


@pytest.fixture
def path(tmp_path: Path, write: Callable[..., Path], filled: Callable[..., Tensors]) -> Path:
    return write(tmp_path / "weights.h5", filled())
