"""Leaves slow tests out of the coverage where others run the same lines.

Counting takes a third of the time. The fast tests and the slow ones of these files run more than
95 % of the lines and branches.
"""

import os
from collections.abc import Generator

import pytest
from paths import TESTS

COUNTED = (
    "comparison/test_compare.py",
    "comparison/test_hostile_metrics.py",
    "data/cifar/test_bad_cifar.py",
    "data/cifar/test_cifar_formats.py",
    "data/cifar/test_real_cifar.py",
    "data/folders/test_tfds_set.py",
    "data/photos/test_hostile_photos.py",
    "data/test_augment.py",
    "models/weights/hostile/test_damaged_weights.py",
    "models/weights/hostile/test_hostile_hdf5.py",
    "models/weights/hostile/test_no_hdf5.py",
    "prediction/exports/test_written_files.py",
    "preflight/test_preflight.py",
    "runtime/test_processes.py",
    "runtime/test_remote.py",
    "selfie/runs/test_finished_selfie.py",
    "selfie/runs/test_selfie_settings.py",
    "task1/test_quickstart.py",
    "task1/test_recipes.py",
    "training/test_diagnosis.py",
    "training/test_steps.py",
    "web/test_page.py",
)
# It makes a new process of Python count too.
_OF_PROCESSES = "COVERAGE_PROCESS_CONFIG"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Runs a test with its fixtures, and counts nothing in the meantime unless its file counts."""
    plugin = item.config.pluginmanager.get_plugin("_cov")
    controller = plugin.cov_controller if plugin else None
    is_counted = (
        item.get_closest_marker("slow") is None
        or item.path.relative_to(TESTS).as_posix() in COUNTED
    )
    if controller is None or is_counted:
        return (yield)
    config = os.environ.pop(_OF_PROCESSES, None)
    controller.pause()
    try:
        return (yield)
    finally:
        controller.resume()
        if config is not None:
            os.environ[_OF_PROCESSES] = config
