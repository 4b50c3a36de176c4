"""Findings on the test images themselves: duplicates in training, and suspected label errors."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from cifsel.comparison.candidates import Candidate
from cifsel.comparison.duplicates import Duplicate, find_copies, find_duplicates
from cifsel.comparison.label_errors import LabelError, find_label_errors
from cifsel.comparison.reviewed import Review
from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring


@dataclasses.dataclass(frozen=True)
class Findings:
    """Findings on the test images.

    Attributes:
      duplicates: test images that are in training or validation too.
      label_errors: test images whose label every run contradicts.
      review: what people said of labels of test images. None if that is not known.
    """

    duplicates: Sequence[Duplicate]
    label_errors: Sequence[LabelError]
    review: Review | None = None

    def without_duplicate(self, count: int) -> Bool[np.ndarray, " count"]:
        """Tells for each of `count` test images whether it has no duplicate in training."""
        mask = np.ones(count, bool)
        mask[[duplicate.test_position for duplicate in self.duplicates]] = False
        return mask


def may_have_copies(candidates: Sequence[Candidate]) -> bool:
    """Whether to search for copies. Drawn images resemble each other, but none is a copy."""
    return candidates[0].runs[0].metrics.dataset != "drawn"


def examine_test_images(
    dataset: Dataset, candidates: Sequence[Candidate], review: Review | None = None
) -> Findings:
    """Compares test with training images, and labels with the predictions of all runs."""
    runs = [run for candidate in candidates for run in candidate.runs]
    probabilities = [scoring.softmax(run.logits["test"]) for run in runs]
    return Findings(
        _duplicates(dataset) if may_have_copies(candidates) else [],
        find_label_errors(probabilities, dataset.test.labels),
        review,
    )


def _duplicates(dataset: Dataset) -> list[Duplicate]:
    test, train, val = (part.images for part in (dataset.test, dataset.train, dataset.val))
    if dataset.names or not isinstance(test, np.ndarray):
        return find_copies(dataset)
    return find_duplicates(test, np.concatenate([np.asarray(train), np.asarray(val)]))
