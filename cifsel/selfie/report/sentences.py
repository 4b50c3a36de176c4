"""The sentences of task 2's report, for the person whose photos they are."""

from cifsel.reports.style import display_name, percent
from cifsel.runtime.terminal import count
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.candidates import FINETUNE, CandidateScores, Difference
from cifsel.selfie.protocol.learning_curve import still_rises
from cifsel.selfie.protocol.permutation import PermutationTest
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.pretrained import IMAGENET

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
        f"The true rate is likely between {percent(low)} and {percent(high)}.",
        *_luck_in_brief(outcome),
        more,
    ]


def beats_guessing(outcome: Outcome) -> bool:
    """Whether the chosen candidate is better than guessing beyond luck."""
    scores = outcome.chosen_candidate.photo_by_photo
    if scores.auc <= 0.5:
        return False
    # The first candidate was tested, which need not be the chosen one.
    if outcome.permutation is not None and outcome.chosen == 0:
        return outcome.permutation.p < 0.05
    return scores.accuracy_interval[0] > outcome.photos.majority_share


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
    if outcome.permutation is None:
        return ["That is more than guessing."] if beats_guessing(outcome) else []
    p = outcome.permutation.p
    luck = "Luck alone would hardly do as well" if p < 0.05 else "Luck alone may well do as well"
    # The first candidate was tested, which need not be the chosen one.
    return [f"{luck} (p = {p:.2g}{', of the probe' if outcome.chosen else ''})."]


def chosen_because(outcome: Outcome) -> str:
    """Says why the chosen candidate was chosen. "" if there is no other."""
    candidates, chosen = outcome.candidates, outcome.chosen_candidate
    if len(candidates) == 1:
        return ""
    tuned = [candidate.name for candidate in candidates if candidate.method == FINETUNE]
    if chosen.name in tuned:
        return (
            f"{chosen.name} is chosen, because it is clearly better than the probe of the same"
            " weights (p below 0.05)."
        )
    others = "" if len(candidates) == 2 else " The other candidates are there for comparison."
    for difference in outcome.differences:
        if difference.against in tuned:
            return (
                f"{chosen.name} is chosen. The probe is kept unless fine-tuning is clearly better."
                f" Here it is {100 * -difference.mean:+.0f} points, with p = {difference.p:.2g}."
                f"{others}"
            )
    return (
        f"{chosen.name} is chosen, because it is of the weights that were asked for."
        " The other candidates are there for comparison."
    )


def warnings(outcome: Outcome) -> list[str]:
    """Warns of copies among the photos, of weights that did better, and of missing faces."""
    photos = outcome.photos
    return [*_about_copies(photos), *_about_imagenet(outcome), *_about_faces(photos)]


def _about_copies(photos: PhotoSet) -> list[str]:
    warnings = []
    for i, j, exact in photos.copies:
        are = f"{photos.names[i]} and {photos.names[j]} are"
        kind = "the same picture" if exact else "near copies"
        if photos.labels[i] != photos.labels[j]:
            first, second = (display_name(photos.class_names[photos.labels[n]]) for n in (i, j))
            warnings.append(
                f"{are} {kind}, in two classes ({first} and {second}): one must be wrong"
            )
        else:
            warnings.append(f"{are} {kind}: they were held out together")
    return warnings


def _about_imagenet(outcome: Outcome) -> list[str]:
    chosen = outcome.chosen_candidate
    if chosen.name.startswith(IMAGENET):  # They are in use already.
        return []
    by_name = {candidate.name: candidate for candidate in outcome.candidates}
    return [
        _imagenet_did_better(difference, by_name[difference.against])
        for difference in outcome.differences
        if difference.mean < 0 and difference.against.startswith(IMAGENET)
    ]


def _imagenet_did_better(difference: Difference, imagenet: CandidateScores) -> str:
    sure = "clearly" if difference.p < 0.05 else "perhaps by chance"
    # There is no field for the width of a network.
    how = (
        f": to use them, --config.init_from=imagenet --config.model={imagenet.model}"
        if imagenet.alpha == 1.0
        else ""
    )
    return (
        "plain ImageNet weights did better on these photos than those of task 1, by"
        f" {-100 * difference.mean:.0f} points, {sure} (p = {difference.p:.2g}){how}"
    )


def _about_faces(photos: PhotoSet) -> list[str]:
    missing = sum(face is None for face in photos.faces)
    if photos.crop != "face" or not missing:
        return []
    return [f"no face was found in {count(missing, 'photo')}, of which the middle was used"]


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


def unsure(sure_from: float | None) -> str:
    """Explains which answers of the final model are unsure."""
    if sure_from is None:
        return (
            "It will answer “unsure” to every photo, with the probability beside it: of the photos"
            " that were held out, too many were wrong however sure the model was."
        )
    return (
        f"It answers “unsure” where its highest probability is below {percent(sure_from)}. Above"
        " that, it was right often enough about photos that were held out."
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
