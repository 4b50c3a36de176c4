"""Task 2's report for people: report.html, report.md, figures/ and summaries.

None of them holds a photo unless photos are given.
"""

import dataclasses
import shlex

import numpy as np
from etils import epath
from jaxtyping import Float, Int, UInt8
from PIL import Image

from cifsel.prediction import gradcam
from cifsel.reports.glossary import TERMS
from cifsel.reports.page import Gallery, Page, Tile
from cifsel.reports.style import display_name, percent, shortened
from cifsel.runtime import typed
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.report import (
    cautions,
    description_tables,
    page_charts,
    score_tables,
    sentences,
)
from cifsel.workdir import summaries

# How many photos are shown, and their side in pixels, which is sharp on a phone.
SHOWN, SIDE = 48, 192
HOW = (
    "Every number here is of photos that were held out. A model was made from the other photos"
    " alone, every setting included. Then it was asked about photos that it had never seen."
)
# Terms of the glossary that the Markdown explains.
WORDS = ("95 % interval", "balanced accuracy", "AUC", "log loss", "points", "probe", "p")
SETTINGS = (
    "These are chosen from the other photos alone, every time: the layer of the network to look at,"
    " the number of parts to cut the picture into, and the penalty (L2). Shares that are spread"
    " widely mean that it makes little difference, or that the photos are too few to tell."
)
AVERAGED = (
    "The answers of several layers of the network are averaged, at a fixed grid and penalty (L2)."
    " Nothing is chosen by the photos, as so few cannot tell which is best (layers=average). The"
    " temperature is fitted on the other photos alone, every time."
)
PRIVATE = "Photos are not in this report. --config.save_photos=True adds them."
PUBLIC = (
    "This report and its figures hold the photos themselves, as save_photos asked for. Keep that in"
    " mind when you pass it on."
)
DRAWN = "Drawn faces: this program drew them. The numbers say nothing of photos."


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """The photos for a report that may show them.

    Attributes:
      images: the photos as the model is shown them.
      heat: in [0, 1], where the final model sees its answer (Grad-CAM). None for the photos alone.
      answers: the classes that the final model gives. None without `heat`.
    """

    images: UInt8[np.ndarray, "n s s 3"]
    heat: Float[np.ndarray, "n h w"] | None = None
    answers: Int[np.ndarray, " n"] | None = None


def write_report(
    folder: epath.Path, outcome: Outcome, pictures: Pictures | None, writer: summaries.Writer
) -> None:
    """Writes report.html, report.md, figures/NAME.png, and the same as summaries.

    Args:
      folder: the workdir.
      outcome: of the run.
      pictures: the photos. None keeps every picture of a photo out of the report.
      writer: of summaries.
    """
    report_page(folder, outcome, pictures).write(folder, writer)
    _write_summaries(outcome, writer)
    writer.flush()


def report_page(folder: epath.Path, outcome: Outcome, pictures: Pictures | None) -> Page:
    """Makes the report before it is written, from the arguments of `write_report`."""
    scores, trust, choices = (
        page_charts.score_charts(outcome),
        page_charts.trust_charts(outcome),
        page_charts.choice_charts(outcome),
    )
    predict = typed.words("cifsel.predict")
    texts = {
        "title": sentences.title(outcome),
        "sentences": sentences.summary_sentences(outcome),
        "chosen": sentences.chosen_because(outcome),
        "warnings": cautions.warnings(outcome),
        "how": HOW,
        "privacy": PRIVATE if pictures is None else PUBLIC,
        "scores": score_tables.score_tables(outcome),
        "words": [(word, TERMS[word]) for word in WORDS],
        "differences": score_tables.difference_table(outcome),
        "mistakes": score_tables.mistake_table(outcome),
        "choices": score_tables.choice_table(outcome),
        "choices_charts": [chart.name for chart in choices],
        "trust_charts": [chart.name for chart in trust],
        "settings": AVERAGED if is_averaged(outcome) else SETTINGS,
        "final": description_tables.final_model_table(outcome),
        "predict": f"{predict} --checkpoint={shlex.quote(str(folder))} photo.jpg",
        "unsure": sentences.unsure(outcome),
        "unlike": sentences.unlike(outcome),
        "by_class": score_tables.class_table(outcome),
        "sets": sentences.sets(outcome),
        "photos": description_tables.photo_table(outcome.photos),
        "candidates": description_tables.candidate_table(outcome.candidates),
        "command": outcome.provenance.command,
        "versions": description_tables.provenance_table(outcome),
    }
    galleries = () if pictures is None else (_gallery(outcome, pictures),)
    note = DRAWN if outcome.drawn else ""
    return Page("selfie", (*scores, *trust, *choices), galleries, texts, note)


def is_averaged(outcome: Outcome) -> bool:
    """Whether the probes average over layers."""
    return any(
        len(choice.layers) > 1 for candidate in outcome.candidates for choice in candidate.choices
    )


def _gallery(outcome: Outcome, pictures: Pictures) -> Gallery:
    """Shows the photos with their out-of-fold predictions, the worst first."""
    photos, probabilities = outcome.photos, outcome.chosen_candidate.photo_by_photo.probabilities
    order = score_tables.worst_first(probabilities, photos.labels)[:SHOWN]
    images, heat = pictures.images, pictures.heat
    columns, explained = [images[order]], ""
    labels: tuple[str, ...] = ("",)
    if heat is not None and gradcam.has_places(heat):
        columns.append(gradcam.overlay(images[order], heat[order], images.shape[1]))
        labels = ("the photo", "final model")
        explained = (
            " Beside it, in colour, are the regions that the final model bases its own answer on"
            " (Grad-CAM). It has learned from all photos, this one included."
        )
    elif heat is not None:
        explained = (
            " There is no map of what the final model looks at. Its layer keeps a single cell of"
            " each photo, which says nothing of places."
        )
    first = f" The first {SHOWN} of {len(images)}." if len(images) > SHOWN else ""
    return Gallery(
        "photos",
        "The photos, the worst first",
        f"As the model sees them, with its answer when the photo was held out.{first}{explained}",
        tuple(
            Tile(
                tuple(_reduced(column[row]) for column in columns),
                display_name(photos.class_names[photos.labels[index]]),
                _answers(outcome, index, pictures.answers if len(columns) > 1 else None),
                _verdict(outcome, index),
                labels,
            )
            for row, index in enumerate(order)
        ),
        photos=True,
        heat=len(columns) > 1,
    )


def _answers(outcome: Outcome, index: int, final: np.ndarray | None) -> tuple[str, ...]:
    """Says what a photo was taken for when it was held out, and by the final model."""
    photos, probabilities = outcome.photos, outcome.chosen_candidate.photo_by_photo.probabilities
    names = [display_name(name) for name in photos.class_names]
    predicted = int(probabilities[index].argmax())
    sign = "✓" if predicted == photos.labels[index] else "✗"
    held_out = f"held out: {names[predicted]} {percent(probabilities[index, predicted])} {sign}"
    by_final = () if final is None else (f"final model: {names[final[index]]}",)
    return (held_out, *by_final, shortened(photos.names[index]))


def _verdict(outcome: Outcome, index: int) -> str:
    probabilities = outcome.chosen_candidate.photo_by_photo.probabilities[index]
    return "right" if probabilities.argmax() == outcome.photos.labels[index] else "wrong"


def _reduced(picture: np.ndarray) -> np.ndarray:
    if picture.shape[0] <= SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _write_summaries(outcome: Outcome, writer: summaries.Writer) -> None:
    """Writes curves. Single numbers are in the tables of the report, as a plot of one is empty."""
    for point in outcome.learning_curve:
        writer.write_scalars(round(point.photos), {"learning_curve/accuracy": point.accuracy})
    if test := outcome.permutation:
        accuracies = np.asarray(test.accuracies, np.float32)
        writer.write_histograms(0, {"permutation/accuracies": accuracies})
