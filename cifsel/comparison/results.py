"""The results of a comparison, as comparison.json and best.json hold them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from cifsel.comparison.candidates import Candidate, differing_fields
from cifsel.comparison.findings import Findings
from cifsel.comparison.paired import Difference
from cifsel.comparison.reviewed import ReviewEntry
from cifsel.comparison.scores import (
    CandidateCost,
    CandidateScores,
    CoarseComparison,
    candidate_cost,
    candidate_scores,
    compare_coarse_labels,
)
from cifsel.comparison.verdict import Verdict, sentence_on_test, sentence_on_validation
from cifsel.data.splits import Dataset
from cifsel.runtime import remote
from cifsel.workdir import checkpoints


@dataclasses.dataclass(frozen=True)
class CandidateEntry:
    """A candidate.

    Attributes:
      name: of the model, with the details that tell it from other candidates.
      runs: workdirs, by ascending seed.
      val: scores on validation images.
      test: scores on test images.
      cost: size, operations, speed and time.
    """

    name: str
    runs: tuple[str, ...]
    val: CandidateScores
    test: CandidateScores
    cost: CandidateCost


@dataclasses.dataclass(frozen=True)
class DuplicateEntry:
    """A test image that has a duplicate in training.

    Attributes:
      test_id: number of the test image in the data set.
      similarity: of the duplicate, 1.0 if exact.
      exact: whether all pixels are equal.
    """

    test_id: int
    similarity: float
    exact: bool


@dataclasses.dataclass(frozen=True)
class LabelErrorEntry:
    """A suspected label error.

    Attributes:
      test_id: number of the test image in the data set.
      label: name of its class.
      predicted: name of the class that every run predicts.
      probability: of that class, mean over the runs.
    """

    test_id: int
    label: str
    predicted: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The content of comparison.json.

    Attributes:
      verdict: sentence on the choice, from validation images.
      on_test: sentence on the test images.
      chosen: name of the candidate to use.
      rival: name of the best other candidate.
      within_noise: whether the difference on validation images is not significant.
      differences: accuracy of `chosen` minus that of `rival`, on 'val' and 'test'.
      candidates: in the order in which they were given.
      per_coarse: `chosen` (a) and `rival` (b) on the test images of each coarse label.
      differing_fields: fields of the config in which candidates differ, with the value of each.
      duplicates: test images that are in training too.
      suspects: suspected label errors.
      fingerprint: of the data set.
      inputs: a digest of the results of each run, in the order in which they were given.
      reviewed: what people said of labels of test images. None if that is not known.
    """

    verdict: str
    on_test: str
    chosen: str
    rival: str
    within_noise: bool
    differences: Mapping[str, Difference]
    candidates: tuple[CandidateEntry, ...]
    per_coarse: tuple[CoarseComparison, ...]
    differing_fields: Mapping[str, list[Any]]
    duplicates: tuple[DuplicateEntry, ...]
    suspects: tuple[LabelErrorEntry, ...]
    fingerprint: str
    inputs: tuple[str, ...]
    reviewed: ReviewEntry | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form, with the fields in the order above."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class BestRun:
    """The content of best.json, which leads to the run of the chosen candidate.

    Attributes:
      run: workdir. It is relative to the folder of best.json if it lies below, else absolute.
      checkpoint: folder of the checkpoints in the workdir.
      model: name of the model in the config.
      image_size: side of its input, in pixels.
      resize: method of resizing to that side.
      class_names: names of its classes.
      validation_accuracy: 0..1.
      test_accuracy: 0..1.
    """

    run: str
    checkpoint: str
    model: str
    image_size: int
    resize: str
    class_names: tuple[str, ...]
    validation_accuracy: float
    test_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form, with the fields in the order above."""
        return dataclasses.asdict(self)


def describe(
    dataset: Dataset,
    candidates: Sequence[Candidate],
    verdict: Verdict,
    findings: Findings,
    *,
    inputs: Sequence[str],
    reviewed: ReviewEntry | None = None,
) -> Comparison:
    """Gathers the results of a comparison. `inputs` are `runs.digest` of the runs as given."""
    test, class_names = dataset.test, dataset.class_names
    return Comparison(
        verdict=sentence_on_validation(verdict),
        on_test=sentence_on_test(verdict),
        chosen=verdict.chosen.name,
        rival=verdict.rival.name,
        within_noise=verdict.within_noise,
        differences=verdict.differences,
        candidates=tuple(_describe_candidate(candidate) for candidate in candidates),
        per_coarse=compare_coarse_labels(
            verdict.chosen, verdict.rival, dataset.coarse_of, dataset.coarse_names
        ),
        differing_fields=differing_fields(candidates),
        duplicates=tuple(
            DuplicateEntry(
                int(test.ids[duplicate.test_position]), duplicate.similarity, duplicate.exact
            )
            for duplicate in findings.duplicates
        ),
        suspects=tuple(
            LabelErrorEntry(
                int(test.ids[error.position]),
                class_names[error.label],
                class_names[error.predicted],
                error.probability,
            )
            for error in findings.label_errors
        ),
        fingerprint=dataset.fingerprint,
        inputs=tuple(inputs),
        reviewed=reviewed,
    )


def _describe_candidate(candidate: Candidate) -> CandidateEntry:
    return CandidateEntry(
        name=candidate.name,
        runs=tuple(str(run.folder) for run in candidate.runs),
        val=candidate_scores(candidate, "val"),
        test=candidate_scores(candidate, "test"),
        cost=candidate_cost(candidate),
    )


def best_run(folder: epath.Path, candidate: Candidate) -> BestRun:
    """Describes the best seed of a candidate on validation images.

    Args:
      folder: of best.json.
      candidate: the chosen one.
    """
    run = candidate.best_run()
    # Relative where the run lies below, so that the whole folder can be moved.
    relative = os.path.relpath(run.folder, folder)
    same_storage = remote.is_remote(run.folder) == remote.is_remote(folder)
    below = same_storage and not relative.startswith("..")
    return BestRun(
        run=relative if below else str(remote.absolute(run.folder)),
        checkpoint=checkpoints.FOLDER,
        model=run.metrics.model,
        image_size=run.config["image_size"],
        resize=run.config["resize"],
        class_names=run.class_names,
        validation_accuracy=run.metrics.val.accuracy,
        test_accuracy=run.metrics.test.accuracy,
    )
