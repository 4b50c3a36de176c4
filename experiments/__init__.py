"""Measurements, the records of their results, and the commands that made them."""

from pathlib import Path

import cifsel  # noqa: F401 - so that Ctrl-C ends a command quietly from here on

RESULTS = Path(__file__).parent / "results"
