"""The outcome of task 2: the numbers that its report and metrics.json are made from."""

import dataclasses

from cifsel.evaluation.prediction_sets import HeldOutSets, of_held_out
from cifsel.selfie.protocol.candidates import CandidateScores, Difference, FinalSettings
from cifsel.selfie.protocol.learning_curve import CurvePoint
from cifsel.selfie.protocol.permutation import PermutationTest
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.workdir.provenance import Provenance


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of a run.

    Attributes:
      name: of the run.
      recipe: of its config file.
      task: 'selfie'.
      photos: the photos that it was made from, without pixels.
      candidates: what was compared. The first one is the probe of the user's backbone, of which
        the permutation test, the learning curve and the final model are.
      differences: of the first candidate from each other one.
      permutation: None if there were no permutations.
      learning_curve: accuracy by the number of photos that were learned from.
      final: the settings of the final model.
      seconds: wall time, without the training of the final model.
      provenance: software, devices, command and time.
      drawn: whether the photos are drawn by this program.
    """

    name: str
    recipe: str
    task: str
    photos: PhotoSet
    candidates: tuple[CandidateScores, ...]
    differences: tuple[Difference, ...]
    permutation: PermutationTest | None
    learning_curve: tuple[CurvePoint, ...]
    final: FinalSettings
    seconds: float
    provenance: Provenance
    drawn: bool = False

    @property
    def chosen_candidate(self) -> CandidateScores:
        """The candidate that the final model is made from."""
        return self.candidates[0]

    @property
    def sets(self) -> tuple[HeldOutSets, ...]:
        """Sets of classes of the chosen candidate, calibrated on its held-out answers."""
        held_out = self.chosen_candidate.photo_by_photo.probabilities
        return of_held_out(held_out, self.photos.labels)
