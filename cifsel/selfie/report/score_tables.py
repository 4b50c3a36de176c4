"""Tables of scores: accuracy by protocol, differences, wrong answers, chosen settings."""

import numpy as np
from jaxtyping import Float, Int

from cifsel.reports.page import Table
from cifsel.reports.style import display_name, percent
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.candidates import CandidateScores
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.scores import Scores, wilson_share
from cifsel.selfie.report.sentences import place, times

# How many wrong answers are listed, and how many settings of each candidate.
MISTAKES, SETTINGS = 15, 3


def score_tables(outcome: Outcome) -> list[tuple[str, Table]]:
    """Makes a table of all candidates' scores for each protocol, with its heading."""
    repeats = outcome.chosen_candidate.kfold.repeats
    one_by_one, kfold = [], []
    for candidate in outcome.candidates:
        chosen = candidate is outcome.chosen_candidate
        name = f"{candidate.name} (chosen)" if chosen else candidate.name
        if candidate.leave_one_out:
            one_by_one.append(_score_row(name, candidate.leave_one_out))
        kfold.append(_score_row(name, candidate.kfold))
    headed = {
        "Every photo held out once (leave-one-out)": one_by_one,
        f"A part of the photos held out at a time, {times(repeats)} over (repeated k-fold)": kfold,
    }
    head = ("", "right", "95 % interval", "balanced accuracy", "AUC", "log loss")
    return [
        (heading, Table(head, (*rows, _guessing_row(outcome.photos))))
        for heading, rows in headed.items()
        if rows
    ]


def _score_row(name: str, scores: Scores) -> tuple[str, ...]:
    low, high = scores.accuracy_interval
    return (
        name,
        f"{_number(scores.right)} of {scores.examples} ({percent(scores.accuracy)})",
        f"{percent(low)} to {percent(high)}",
        percent(scores.balanced_accuracy),
        f"{scores.auc:.2f}",
        f"{scores.log_loss:.2f}",
    )


def _guessing_row(photos: PhotoSet) -> tuple[str, ...]:
    """Makes the row of a model that only knows how frequent each class is."""
    counts = np.array(list(photos.per_class.values()))
    shares = counts / photos.count
    return (
        "guessing, for comparison",
        f"{counts.max()} of {photos.count} ({percent(photos.majority_share)})",
        "",
        percent(1 / len(shares)),
        "0.50",
        f"{-(shares * np.log(np.maximum(shares, 1e-12))).sum():.2f}",
    )


def class_table(outcome: Outcome) -> Table:
    """Tells how often the chosen candidate is right about each class, and how often it says it."""
    photos, confusion = outcome.photos, outcome.chosen_candidate.photo_by_photo.confusion
    rows = []
    for label, name in enumerate(photos.class_names):
        of_class, right = photos.labels == label, float(confusion[label, label])
        share = right / of_class.sum()
        low, high = wilson_share(share, len(np.unique(photos.groups[of_class])))
        rows.append(
            (
                display_name(name),
                f"{_number(right)} of {of_class.sum()} ({percent(share)})",
                f"{percent(low)} to {percent(high)}",
                _number(float(confusion[:, label].sum())),
            )
        )
    return Table(("class", "right", "95 % interval", "given as the answer"), tuple(rows))


def _number(value: float) -> str:
    """A whole number without digits, and a mean of several repetitions with one."""
    return f"{value:.1f}".removesuffix(".0")


def difference_table(outcome: Outcome) -> Table | None:
    """Compares candidates on the same photos. None if there is a single candidate."""
    rows = []
    for difference in outcome.differences:
        if difference.low <= 0 <= difference.high:
            verdict = "may be chance"
        else:
            better = difference.name if difference.low > 0 else difference.against
            verdict = f"{better} is better"
        rows.append(
            (
                f"{difference.name} against {difference.against}",
                f"{100 * difference.mean:+.1f}",
                f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}",
                f"{difference.p:.2g}",
                verdict,
            )
        )
    head = ("", "difference, points", "95 % interval", "p", "in words")
    return Table(head, tuple(rows)) if rows else None


def mistake_table(outcome: Outcome) -> tuple[str, Table | None]:
    """Lists the wrong answers of the chosen candidate, the worst first, below a heading.

    The table is None if all answers were right.
    """
    photos, probabilities = outcome.photos, outcome.chosen_candidate.photo_by_photo.probabilities
    predicted = probabilities.argmax(1)
    classes = [display_name(name) for name in photos.class_names]
    rows = [
        (
            photos.names[index],
            classes[photos.labels[index]],
            f"{classes[predicted[index]]} ({percent(probabilities[index].max())})",
        )
        for index in worst_first(probabilities, photos.labels)
        if predicted[index] != photos.labels[index]
    ]
    if not rows:
        return "It got nothing wrong", None
    some = f": the worst {MISTAKES} of {len(rows)}" if len(rows) > MISTAKES else ""
    table = Table(("photo", "it is", "the model said"), tuple(rows[:MISTAKES]))
    return f"What it got wrong{some}", table


def worst_first(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Sorts photos by the probability that their true class was given. Returns positions."""
    return np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")


def choice_table(outcome: Outcome) -> Table:
    """Lists the settings that the folds chose most often, for each candidate."""
    rows = [row for candidate in outcome.candidates for row in _choice_rows(candidate)]
    return Table(("candidate", "setting", "share of the folds"), tuple(rows))


def _choice_rows(candidate: CandidateScores) -> list[tuple[str, ...]]:
    by_share = sorted(candidate.choices, key=lambda choice: -choice.share)
    return [
        (
            candidate.name,
            setting(choice.layers, choice.grid, choice.l2),
            percent(choice.share),
        )
        for choice in by_share[:SETTINGS]
    ]


def setting(layers: tuple[str, ...], grid: int, l2: float) -> str:
    """Writes the settings of a probe."""
    return f"{place(layers, grid)}, L2 {l2:.2g}"
