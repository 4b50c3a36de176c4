"""Weight files cut or changed anywhere: a refusal, or finite tensors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from h5_refusal import refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifsel.errors import UserError
from cifsel.models.weights import h5_file

pytestmark = pytest.mark.slow


@settings(max_examples=60, deadline=None, derandomize=True)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_anywhere(
    tmp_path_factory: pytest.TempPathFactory, write: Callable, filled: Callable, share: float
) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "cut.h5", filled())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "not a readable HDF5 file", "fetch it again")


LAYOUTS = ({}, {"chunks": True}, {"keras2": True, "below": "model_weights"})


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    layout=st.sampled_from(LAYOUTS),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 60), st.binary(max_size=9)),
        min_size=1,
        max_size=5,
    ),
)
def test_damage_gives_a_user_error_or_finite_tensors(
    path: Path, write: Callable, filled: Callable, layout: dict, changes: list
) -> None:
    content = bytearray(write(path, filled(), **layout).read_bytes())
    for share, cut, put in changes:
        start = int(share * len(content))
        content[start : start + cut] = put
    path.write_bytes(content)
    try:
        tensors = h5_file.read_tensors(path)
    except UserError as error:
        assert str(error).isprintable()
        assert path.name in str(error)
    else:
        assert all(np.isfinite(value).all() for value in tensors.values())
        assert sum(value.nbytes for value in tensors.values()) <= 2 * len(content)
