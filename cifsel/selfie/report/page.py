"""Task 2's report for people: report.html, report.md, figures/ and summaries.

None of them holds a photo unless photos are given.
"""

import shlex

import numpy as np
from etils import epath
from jaxtyping import Float, UInt8
from PIL import Image

from cifsel.prediction import gradcam
from cifsel.reports.page import Gallery, Page, Tile
from cifsel.reports.style import display_name, percent
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.scores import Scores
from cifsel.selfie.report import charts, description_tables, page_charts, score_tables, sentences
from cifsel.workdir import summaries

# How many photos are shown, and their side in pixels, which is sharp on a phone.
SHOWN, SIDE = 48, 192
HOW = (
    "Every figure here is about photos that were put aside: a model was made from the other photos"
    " alone, every setting included, and then asked about those that it had never seen."
)
WORDS = (
    (
        "95 % interval",
        "so few photos leave room for chance; the true share of right answers, over many more"
        " photos of the same kind, is likely in this range.",
    ),
    (
        "balanced accuracy",
        "the share of right answers within each class, averaged over the classes, so that a class"
        " with more photos does not count for more.",
    ),
    (
        "AUC",
        "given one photo of each of two classes, how often it can tell which is which; 0.5 is"
        " guessing, 1 is always.",
    ),
    (
        "log loss",
        "is high for being sure and wrong; lower is better.",
    ),
    (
        "points, p",
        "a point is one photo in a hundred; p is the probability of a difference like this if"
        " in truth there were none.",
    ),
)
SETTINGS = (
    "From the other photos alone, every time: which layer of the network to look at, into how many"
    " parts to cut the picture, how strongly to hold back (L2), how long to learn (epochs). Shares"
    " that are spread widely mean that it makes little difference, or that the photos are too few"
    " to tell."
)
PRIVATE = "Photos are not in this report; --config.save_photos=True adds them."
PUBLIC = (
    "This report and its figures hold the photos themselves, as save_photos asked for: keep that in"
    " mind when you pass it on."
)


def write_report(
    folder: epath.Path,
    outcome: Outcome,
    images: UInt8[np.ndarray, "n s s 3"] | None,
    heat: Float[np.ndarray, "n h w"] | None,
    writer: summaries.Writer,
) -> None:
    """Writes report.html, report.md, figures/NAME.png, and the same as summaries.

    Args:
      folder: the workdir.
      outcome: of the run.
      images: the photos as the model is shown them. None keeps every picture of a photo out of
        the report.
      heat: in [0, 1], where the final model sees its answer (Grad-CAM). None without `images`, or
        to show the photos alone.
      writer: of summaries.
    """
    report_page(folder, outcome, images, heat).write(folder, writer)
    _write_scalars(outcome, writer)
    writer.flush()


def report_page(
    folder: epath.Path,
    outcome: Outcome,
    images: UInt8[np.ndarray, "n s s 3"] | None,
    heat: Float[np.ndarray, "n h w"] | None,
) -> Page:
    """Makes the report before it is written, from the arguments of `write_report`."""
    scores, trust, choices = (
        page_charts.score_charts(outcome),
        page_charts.trust_charts(outcome),
        page_charts.choice_charts(outcome),
    )
    texts = {
        "title": sentences.title(outcome.photos),
        "sentence": sentences.summary(outcome),
        "warnings": sentences.warnings(outcome),
        "how": HOW,
        "privacy": PRIVATE if images is None else PUBLIC,
        "scores": score_tables.score_tables(outcome),
        "words": WORDS,
        "differences": score_tables.difference_table(outcome),
        "mistakes": score_tables.mistake_table(outcome),
        "choices": score_tables.choice_table(outcome),
        "choices_charts": [chart.name for chart in choices],
        "trust_charts": [chart.name for chart in trust],
        "settings": SETTINGS,
        "final": description_tables.final_model_table(outcome),
        "predict": f"python -m cifsel.predict --checkpoint={shlex.quote(str(folder))} photo.jpg",
        "unsure": sentences.unsure(outcome.final.sure_from),
        "photos": description_tables.photo_table(outcome.photos),
        "candidates": description_tables.candidate_table(outcome.candidates),
        "command": outcome.provenance.command,
        "versions": description_tables.provenance_table(outcome),
    }
    galleries = () if images is None else (_gallery(outcome, images, heat),)
    return Page("selfie", (*scores, *trust, *choices), galleries, texts)


def _gallery(outcome: Outcome, images: np.ndarray, heat: np.ndarray | None) -> Gallery:
    """Shows the photos with their out-of-fold predictions, the worst first."""
    photos, probabilities = outcome.photos, outcome.chosen_candidate.photo_by_photo.probabilities
    order = score_tables.worst_first(probabilities, photos.labels)[:SHOWN]
    columns = [images[order]]
    if heat is not None:
        columns.append(gradcam.overlay(images[order], heat[order], images.shape[1]))
    return Gallery(
        "photos",
        "The photos, the worst first",
        "As the model sees them, with what it said when the photo was put aside."
        + (f" The first {SHOWN} of {len(images)}." if len(images) > SHOWN else "")
        + (
            ""
            if heat is None
            else " Beside it, what the final model, which has learned from all photos, sees its"
            " answer in; the rest is dimmed (Grad-CAM)."
        ),
        tuple(
            _tile(outcome, index, tuple(_reduced(column[row]) for column in columns))
            for row, index in enumerate(order)
        ),
        photos=True,
    )


def _tile(outcome: Outcome, index: int, pictures: tuple[np.ndarray, ...]) -> Tile:
    """Shows a photo with its out-of-fold prediction."""
    photos, probabilities = outcome.photos, outcome.chosen_candidate.photo_by_photo.probabilities
    predicted, label = int(probabilities[index].argmax()), photos.labels[index]
    right = predicted == label
    said = (
        f"{display_name(photos.class_names[predicted])} {percent(probabilities[index, predicted])}"
    )
    return Tile(
        pictures,
        display_name(photos.class_names[label]),
        (f"{'✓' if right else '✗ taken for'} {said}", charts.shortened(photos.names[index])),
        "right" if right else "wrong",
    )


def _reduced(picture: np.ndarray) -> np.ndarray:
    if picture.shape[0] <= SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _write_scalars(outcome: Outcome, writer: summaries.Writer) -> None:
    for candidate in outcome.candidates:
        if candidate.leave_one_out:
            _write_scores("leave_one_out", candidate.name, candidate.leave_one_out, writer)
        _write_scores("kfold", candidate.name, candidate.kfold, writer)
    for point in outcome.learning_curve:
        writer.write_scalars(round(point.photos), {"learning_curve/accuracy": point.accuracy})
    if test := outcome.permutation:
        writer.write_scalars(0, {"permutation/p": test.p, "permutation/mean": test.mean})
        accuracies = np.asarray(test.accuracies, np.float32)
        writer.write_histograms(0, {"permutation/accuracies": accuracies})


def _write_scores(protocol: str, name: str, scores: Scores, writer: summaries.Writer) -> None:
    scalars = {
        "accuracy": scores.accuracy,
        "balanced_accuracy": scores.balanced_accuracy,
        "auc": scores.auc,
        "log_loss": scores.log_loss,
    }
    writer.write_scalars(0, {f"{protocol}_{key}/{name}": value for key, value in scalars.items()})
