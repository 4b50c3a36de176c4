"""Settings of all tests, and the list of modules with their shared fixtures."""

import gc
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxtyping
import pytest
from paths import DATA, TESTS

# Shapes and dtypes in the types of functions are checked at each call. This comes before any import
# of cifsel, and in conftest.py because the workers of `-n` do not see an option in addopts.
jaxtyping.install_import_hook("cifsel", "array_types.check")

# The tests compile for longer than they compute, so XLA compiles the quick way, here and in the
# processes that they start. A version of XLA that lacks one of these flags ends with its name.
XLA_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if XLA_FLAGS not in os.environ.get("XLA_FLAGS", ""):  # The workers of `-n` have them already.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAGS}".strip()

# As cifsel has it, whichever test imports TensorFlow first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# Fixtures that tests of several packages use. Those of one package are in its conftest.py.
pytest_plugins = [
    "bounded_reader",
    "browser",
    "counted",
    "gs",
    "made_up_run",
    "tiny_model",
    "tiny_commands",
]
# Helpers with asserts, which say what they compared, as those of tests do.
pytest.register_assert_rewrite(
    "cifar_files", "h5_refusal", "keras_files", "loop_runs", "published_weights", "scene"
)

JAX_SETTINGS = {
    # Programs that one test has compiled are there for all others, however small they are.
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_disable_most_optimizations": True,
}
# Files that take half a minute or more, the longest first.
LONGEST = (
    "test_gcs_runs.py",
    "test_train_real.py",
    "prediction/exports/test_written_files.py",
    "web/test_browser.py",
    "runtime/test_sharding.py",
    "models/test_parity.py",
    "preflight/test_preflight.py",
    "task1/test_quickstart.py",
    "comparison/test_compare.py",
    "selfie/runs/test_finished_selfie.py",
    "experiments/test_crash_matrix.py",
    "selfie/report/test_selfie_report.py",
    "test_api.py",
    "runtime/test_processes.py",
    "selfie/test_selfie_real.py",
)
# In the tests of these packages, JAX aligns shapes of different rank only where the code says so.
STRICT_RANKS = ("data", "models", "evaluation", "training")
# Nor does it promote dtypes. Training has to, as optax's schedules multiply floats by the integer
# number of steps.
STRICT_DTYPES = ("data", "models", "evaluation")


def pytest_configure(config: pytest.Config) -> None:
    """Settings of JAX, for this process and those that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in background jobs. The processes that tests start would ignore it too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Python would look for garbage among half a million objects of libraries again and again.
    gc.set_threshold(20_000, 20, 20)
    settings = JAX_SETTINGS
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # The workers of `-n` find it in the environment.
        folder = tempfile.mkdtemp(prefix="cifsel-compiled-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        settings = settings | {"jax_compilation_cache_dir": folder}
    for name, value in settings.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores, as tests wait for processes and time-outs.

    None for test files that are named: they take longer to start than to do without.
    """
    if all(".py" in argument for argument in config.args):
        return 0
    from cifsel.runtime import threads

    return threads.cores() + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of fixtures that start a process or need the real data; longest files first.

    One that comes last would keep one worker busy while the others have nothing left to do.
    """
    marks = {"browser": "process", "read_within": "process", "real_data": "real"}
    for item in items:
        for fixture in marks.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(marks[fixture])
    places = {name: place for place, name in enumerate(LONGEST)}
    last = len(places)
    items.sort(key=lambda item: places.get(item.path.relative_to(TESTS).as_posix(), last))


@pytest.fixture(autouse=True)
def strict_promotion(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuses implicit promotion of ranks and dtypes in the tests of some packages."""
    package = request.path.relative_to(TESTS).parts[0]
    ranks = jax.numpy_rank_promotion("raise" if package in STRICT_RANKS else "allow")
    dtypes = jax.numpy_dtype_promotion("strict" if package in STRICT_DTYPES else "standard")
    with ranks, dtypes:
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_kept() -> Iterator[None]:
    """Programs are traced here, as tests put other code in the place of what a program is of."""
    from cifsel.runtime import executables

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executables, "_folder", lambda: None)
        yield


@pytest.fixture(autouse=True)
def not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that a test calls does not end the process of the tests, at once or later."""
    from cifsel.runtime import command, ending

    monkeypatch.setattr(ending, "watch", lambda: None)
    monkeypatch.setattr(command, "_started", False)
    monkeypatch.setattr(command, "_PATIENCE", threading.TIMEOUT_MAX)


@pytest.fixture(autouse=True, scope="session")
def without_published_model() -> Iterator[None]:
    """A published model would take the place of the tiny ones, in the quickstart for one."""
    from cifsel.prediction import published

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "FOLDERS", ())
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights; skips without it."""
    for needed in ("tfds/cifar100/3.0.2", "weights"):
        if not (DATA / needed).is_dir():
            pytest.skip(f"no real data: {DATA / needed} is not there")
    return DATA


@pytest.fixture(scope="module")
def optimizing() -> Iterator[None]:
    """For tests that compute more than they compile, as real networks on many images do."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
