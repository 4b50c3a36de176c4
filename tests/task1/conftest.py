"""Small models and few images in the place of the real ones."""

import pytest
import tiny_run


@pytest.fixture(scope="module")
def tiny():
    """Nothing in these runs is larger than it must be."""
    with pytest.MonkeyPatch.context() as patch:
        tiny_run.make_small(patch)
        yield
