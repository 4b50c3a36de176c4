"""Whole runs of task 1, and their metrics as a strict reader sees them."""

import json

import pytest

from cifsel import task1
from cifsel.workdir import summaries

FIGURES = {"training_samples", "confusion_matrix", "worst_classes", "test_predictions"}


def read(folder):
    """metrics.json as a strict reader sees it: NaN is not JSON."""
    return json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)


def run(config, folder):
    """metrics.json of a run, as its reader sees it."""
    metrics = task1.train_and_evaluate(config, str(folder), summaries.Summaries())
    return json.loads(json.dumps(metrics.to_json(), allow_nan=False))
