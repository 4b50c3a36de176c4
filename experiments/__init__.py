"""Measurements, the records of their results, and the commands that made them."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
