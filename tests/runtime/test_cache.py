"""Where compiled code is kept."""

import os
import subprocess
import sys

import pytest
from paths import REPO

pytestmark = [pytest.mark.process, pytest.mark.slow]

PROGRAM = """
import jax
from cifsel.runtime import cache, libtpu
libtpu.quiet()
cache.keep_compiled()
print(jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs)
jax.jit(lambda x: x * 2)(1.0)
"""


def said(**variables):
    """Output of the program with these variables set, and no others of their kind."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=REPO,
        env=env | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_compiled_code_is_kept_in_the_users_cache(tmp_path):
    assert said(CIFSEL_CACHE=tmp_path) == [str(tmp_path / "compiled"), "0.1"]


@pytest.mark.parametrize(
    ("off", "kept"), [({}, True), ({"JAX_ENABLE_COMPILATION_CACHE": "false"}, False)]
)
def test_the_environment_decides(tmp_path, off, kept):
    chosen = {
        "JAX_COMPILATION_CACHE_DIR": tmp_path / "chosen",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    assert said(CIFSEL_CACHE=tmp_path, **chosen, **off) == [str(tmp_path / "chosen"), "0.0"]
    assert any((tmp_path / "chosen").glob("*")) == kept


def test_no_place_for_it_is_no_error():
    assert said(CIFSEL_CACHE="/proc/nowhere")[0] == "None"
