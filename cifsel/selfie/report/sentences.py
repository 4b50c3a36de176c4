"""The sentences of task 2's report, for the person whose photos they are."""

from typing import TypeGuard

from cifsel.reports.style import display_name, percent
from cifsel.runtime.terminal import count
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.folds import LEAST_GROUPS
from cifsel.selfie.protocol.learning_curve import still_rises
from cifsel.selfie.protocol.permutation import PermutationTest
from cifsel.selfie.protocol.photo_set import DAYS, PEOPLE, PhotoSet
from cifsel.selfie.protocol.scores import SURE

# Up to so many names are listed in a sentence or cell.
LISTED = 5
# The coverage of sets of classes that is explained, or else the next lower one.
_USUAL_COVERAGE = 0.9


def title(outcome: Outcome) -> str:
    """Makes the heading of the report."""
    names = [display_name(name) for name in outcome.photos.class_names]
    classes = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= LISTED else "the classes"
    heading = f"How well are {classes} told apart?"
    return f"{heading} (drawn faces)" if outcome.drawn else heading


def summary(outcome: Outcome) -> str:
    """Says how often it was right, how far that can be trusted, and if more photos would help."""
    return " ".join(summary_sentences(outcome))


def summary_sentences(outcome: Outcome) -> list[str]:
    """Makes the sentences of the summary. The first says what matters most."""
    candidate = outcome.chosen_candidate
    scores = candidate.photo_by_photo
    low, high = scores.accuracy_interval
    how = (
        "when each was held out"
        if candidate.leave_one_out
        else f"in {scores.repeats} x cross-validation"
    )
    more = (
        "More photos would probably help."
        if still_rises(outcome.learning_curve)
        else "Nothing says that more photos would help."
    )
    return [
        *_against_guessing(outcome),
        f"{round(scores.right, 1):g} of {scores.examples} photos right {how}.",
        f"On photos like these the true rate is likely between {percent(low)} and {percent(high)}.",
        _question(outcome.photos),
        *_luck_in_brief(outcome),
        more,
    ]


def _question(photos: PhotoSet) -> str:
    """Says which new photos the score is about, and how to ask about others."""
    if photos.asked == PEOPLE:
        return "This is about people that it has never seen."
    if photos.asked == DAYS:
        return "This is about other days of these people."
    days = photos.day_counts
    if sum(days) and max(days) == 1 and all(photos.taken):
        return "This is about other photos of these people on these days. Other days may be harder."
    other = (
        " --config.hold_out=days asks about other days."
        if min(days) >= LEAST_GROUPS and all(photos.taken)
        else ""
    )
    return f"This is about other photos of these people.{other}"


def beats_guessing(outcome: Outcome) -> bool:
    """Whether the chosen candidate is better than guessing beyond luck."""
    scores = outcome.chosen_candidate.photo_by_photo
    if scores.auc <= 0.5:
        return False
    if _can_tell(outcome.permutation):
        return outcome.permutation.p < 0.05
    return scores.accuracy_interval[0] > outcome.photos.majority_share


def _can_tell(test: PermutationTest | None) -> TypeGuard[PermutationTest]:
    """Whether a permutation test can give p < 0.05. With 19 permutations, p is 0.05 at least."""
    return test is not None and len(test.accuracies) > 19


def _against_guessing(outcome: Outcome) -> list[str]:
    """Says first if the model is no better than guessing."""
    if beats_guessing(outcome):
        return []
    photos, auc = outcome.photos, outcome.chosen_candidate.photo_by_photo.auc
    most = max(photos.per_class.values())
    always = f"Always giving the most frequent answer would get {most} of {photos.count} right."
    if auc < 0.5:
        return [f"The model does worse than guessing on new photos (AUC {auc:.2f}).", always]
    return ["The model cannot be told from guessing.", always]


def _luck_in_brief(outcome: Outcome) -> list[str]:
    if not _can_tell(outcome.permutation):
        return ["That is more than guessing."] if beats_guessing(outcome) else []
    p = outcome.permutation.p
    luck = "Luck alone would hardly do as well" if p < 0.05 else "Luck alone may well do as well"
    return [f"{luck} (p = {p:.2g})."]


def chosen_because(outcome: Outcome) -> str:
    """Says why the chosen candidate was chosen. "" if there is no other."""
    if len(outcome.candidates) == 1:
        return ""
    return (
        f"{outcome.chosen_candidate.name} is chosen, because it is of the weights that were asked"
        " for. The other candidates are there for comparison."
    )


def luck(test: PermutationTest, tested: str, num_classes: int) -> str:
    """Explains the permutation test: whether the accuracy is luck, and whether labels leak.

    Args:
      test: its result.
      tested: the name of the candidate that it is of.
      num_classes: K.
    """
    low, high = test.interval
    shuffled = (
        f"The labels of the photos were shuffled {times(len(test.accuracies))}, and the model"
        f" ({tested}) was made and asked anew. It was then right on"
        f" {percent(test.mean)} of the photos of a class on average ({percent(low)} to"
        f" {percent(high)})"
    )
    # The 95 % interval is too high one time in forty with nothing wrong, so it counts twice.
    leaks = test.mean - 2 * (test.mean - low) > 1 / num_classes
    expected = (
        ", which is more than guessing achieves: something is wrong, do not trust this report."
        if leaks
        else ", not clearly more than guessing achieves, as it must be."
    )
    verdict = "hardly luck" if test.p < 0.01 else "probably not luck"
    if test.p >= 0.05:
        verdict = "possibly no more than luck"
    return (
        f"{shuffled}{expected} With the true labels it is {percent(test.observed)}. Shuffled"
        f" ones reach that with a probability of p = {test.p:.2g}: {verdict}."
    )


def more_photos(outcome: Outcome) -> str:
    """Explains the learning curve, which has at least one point."""
    first, last = outcome.learning_curve[0], outcome.learning_curve[-1]
    return (
        f"{outcome.candidates[0].name}: learning from {first.photos:.0f} photos it was right on"
        f" {percent(first.accuracy)}, from {last.photos:.0f} on {percent(last.accuracy)}."
        " A line that still rises at its right end says that more photos would help."
    )


def unsure(outcome: Outcome) -> str:
    """Explains which answers of the final model are unsure, and what was found of the others."""
    sure = outcome.final.sure
    if sure is None:
        return (
            "It will answer “unsure” to every photo, with the probability beside it. No limit was"
            f" found above which {percent(SURE)} of the photos that were held out were right."
        )
    return (
        f"It answers “unsure” where its highest probability is below {percent(sure.least)}. That"
        f" limit is set so that {percent(SURE)} of the other answers are right. Of the photos that"
        f" were held out, {percent(sure.share)} were above it, and {percent(sure.right)} of those"
        " were right."
    )


def unlike(outcome: Outcome) -> str:
    """Explains which photos are marked as unlike those of training."""
    return (
        "A photo is marked “unlike the photos it was made from” if it is further from them than any"
        " of them was when it was held out. The distance is measured on what the network sees. Its"
        " probabilities say nothing of such photos. About"
        f" 1 in {outcome.photos.count + 1} photos like these is marked as well."
    )


def sets(outcome: Outcome) -> str:
    """Explains what sets of classes promise, and what so few photos cannot."""
    calibrated = outcome.sets
    if not calibrated:
        return "There are too few photos for answers with sets of classes (--coverage)."
    best = max(calibrated, key=lambda made: (made.wanted <= _USUAL_COVERAGE, made.wanted))
    low, high = best.likely_coverage
    return (
        f"With --coverage={best.wanted:g} it answers with a set of classes that holds the right one"
        f" for at least {percent(best.wanted)} of new photos like these (split conformal"
        f" prediction). That holds on average. Its threshold comes from"
        f" {count(best.calibrated_on, 'held-out answer')} alone, and with so few, the share for one"
        f" classifier lies between {percent(low)} and {percent(high)} in 90 of 100 cases. Of the"
        f" held-out photos, {percent(best.single)} have a set of one class. Photos of one occasion,"
        " which resemble each other, and other people or places are not new photos like these."
    )


def place(layers: tuple[str, ...], grid: int) -> str:
    """Says which features a probe looks at."""
    if len(layers) == 1:
        return f"{layers[0]}, grid {grid} × {grid}"
    return f"mean over {len(layers)} layers, {layers[0]} to {layers[-1]}, grid {grid} × {grid}"


def times(count: int) -> str:
    """Says how many times something was done."""
    return "once" if count == 1 else f"{count:,} times"
