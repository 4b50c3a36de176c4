"""The charts of task 2's report, with their headings and explanations."""

from cifsel.reports import matrix
from cifsel.reports.page import Chart
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.candidates import CandidateScores
from cifsel.selfie.protocol.scores import Scores
from cifsel.selfie.report import charts, curves, sentences
from cifsel.selfie.report.charts import Estimate

ONE_BY_ONE, KFOLD = "every photo held out once", "repeated k-fold"


def score_charts(outcome: Outcome) -> list[Chart]:
    """Makes the charts of how often the candidates are right."""
    photos, candidate = outcome.photos, outcome.chosen_candidate
    scores = candidate.photo_by_photo
    repeated = f" Means of {scores.repeats} repetitions." if scores.repeats > 1 else ""
    order = "the worst on top" if photos.count <= charts.NAMED else "a dot for each photo"
    estimates = {own.name: _estimates(own) for own in outcome.candidates}
    return [
        Chart(
            "accuracy",
            "How often it is right",
            charts.accuracies(estimates, photos.majority_share, candidate.name),
            explanation="The longer the line, the less is known. One that reaches the dashed line"
            " may be no better than guessing.",
        ),
        Chart(
            "confusion_matrix",
            "What it takes for what",
            charts.confusion(scores.confusion, photos.class_names),
            explanation=f"{candidate.name}, photos that were held out.{repeated}",
            matrix=matrix.confusion(
                scores.confusion, photos.class_names, unit="photos", as_counts=True
            ),
        ),
        Chart(
            "per_photo",
            "Every photo",
            charts.per_photo(scores.probabilities, photos.labels, photos.names, photos.class_names),
            explanation=f"{candidate.name}: how probable it found the right answer when the"
            f" photo was held out, {order}.{repeated}",
        ),
    ]


def _estimates(candidate: CandidateScores) -> dict[str, Estimate]:
    estimates = {ONE_BY_ONE: _estimate(candidate.leave_one_out)} if candidate.leave_one_out else {}
    return estimates | {KFOLD: _estimate(candidate.kfold)}


def _estimate(scores: Scores) -> Estimate:
    return Estimate(scores.accuracy, *scores.accuracy_interval)


def trust_charts(outcome: Outcome) -> list[Chart]:
    """Makes the charts of the permutation test and of the learning curve, where there are such."""
    shown = []
    if test := outcome.permutation:
        said = sentences.luck(test, outcome.candidates[0].name, outcome.photos.num_classes)
        figure = charts.permutation(test)
        shown.append(Chart("permutation", "Could it be luck?", figure, explanation=said))
    if curve := outcome.learning_curve:
        said = sentences.more_photos(outcome)
        figure = curves.learning_curve(curve, outcome.photos.majority_share)
        shown.append(Chart("learning_curve", "Would more photos help?", figure, explanation=said))
    return shown


def choice_charts(outcome: Outcome) -> list[Chart]:
    """Makes the charts of the settings that folds chose: layers and grids."""
    return [
        Chart(f"choices_{number}", candidate.name, charts.choices(shares))
        for number, candidate in enumerate(outcome.candidates, start=1)
        if (shares := _shares(candidate))
    ]


def _shares(candidate: CandidateScores) -> dict[tuple[str, int], float]:
    """Adds up the shares of the folds that chose a layer and grid, whatever the penalty.

    It is empty where layers are averaged.
    """
    shares: dict[tuple[str, int], float] = {}
    for choice in candidate.choices:
        if len(choice.layers) == 1:
            place = choice.layers[0], choice.grid
            shares[place] = shares.get(place, 0.0) + choice.share
    return shares
