"""The refusal of a weight file, in one line that names it."""

from pathlib import Path

import pytest

from cifsel.errors import UserError
from cifsel.models.weights import h5_file


def refused(path: Path, *words: str) -> str:
    with pytest.raises(UserError) as error:
        h5_file.read_tensors(path)
    message = str(error.value)
    assert message.isprintable()
    for word in (path.name, *words):
        assert word in message
    return message
