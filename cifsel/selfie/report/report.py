"""What task 2 leaves for people: report.html, report.md, figures/ and summaries.

No photo is in any of them unless photos are handed over.
"""

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from cifsel.prediction import gradcam
from cifsel.reports.page import Chart, Gallery, Page, Tile
from cifsel.reports.style import display_name, percent
from cifsel.selfie.report import charts, tables
from cifsel.selfie.report.charts import Estimate
from cifsel.selfie.report.tables import Found
from cifsel.workdir import summaries

# Enough to judge, few enough to look at; pixels, sharp on a phone.
SHOWN, SIDE = 48, 192
TRUST = ("permutation", "learning_curve")
PROTOCOLS = {"leave_one_out": "every photo put aside once", "kfold": "repeated k-fold"}
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


def write(
    folder: epath.Path,
    found: Found,
    shown: np.ndarray | None,
    heat: np.ndarray | None,
    writer: summaries.Writer,
) -> None:
    """Writes report.html, report.md, figures/NAME.png, and the same as summaries.

    Args:
      folder: the workdir.
      found: what metrics.json holds.
      shown: (N, S, S, 3) uint8, the photos as the model sees them; None keeps every picture of a
        photo out of everything that is written.
      heat: (N, h, w) float in [0, 1], where the final model sees its answer; None without `shown`,
        or to show the photos alone.
      writer: of summaries.
    """
    page(folder, found, shown, heat).write(folder, writer)
    _scalars(found, writer)
    writer.flush()


def page(
    folder: epath.Path, found: Found, shown: np.ndarray | None, heat: np.ndarray | None
) -> Page:
    """The report before it is written; takes what `write` takes."""
    shown_charts = _charts(found)
    said = {
        "title": tables.title(found),
        "sentence": found["sentence"],
        "warnings": found["notes"],
        "how": HOW,
        "privacy": PRIVATE if shown is None else PUBLIC,
        "scores": tables.scores(found),
        "words": WORDS,
        "differences": tables.differences(found),
        "mistakes": tables.mistakes(found),
        "choices": tables.choices(found),
        "choices_charts": [one.name for one in shown_charts if one.name.startswith("choices")],
        "trust_charts": [one.name for one in shown_charts if one.name in TRUST],
        "settings": SETTINGS,
        "final": tables.final(found),
        "predict": f"python -m cifsel.predict --checkpoint={shlex.quote(str(folder))} photo.jpg",
        "unsure": tables.unsure(found),
        "photos": tables.photos(found),
        "candidates": tables.candidates(found),
        "command": found["command"],
        "versions": tables.versions(found),
    }
    galleries = () if shown is None else (_gallery(found, shown, heat),)
    return Page("selfie", tuple(shown_charts), galleries, said)


def _charts(found: Found) -> list[Chart]:
    photos, candidate = found["photos"], tables.chosen(found)
    classes, score = photos["class_names"], tables.score(candidate)
    guessing = tables.guessing(found)
    labels, probabilities = np.asarray(photos["labels"]), np.asarray(score["probabilities"])
    repeated = f" Means of {score['repeats']} repetitions." if score["repeats"] > 1 else ""
    order = "the worst on top" if len(labels) <= charts.NAMED else "a dot for each photo"
    figure = charts.accuracies(_estimates(found), guessing, candidate["name"])
    shown_charts = [
        Chart(
            "accuracy",
            "How often it is right",
            figure,
            explanation="The longer the line, the less is known. One that reaches the dashed line"
            " may be no better than guessing.",
        ),
        Chart(
            "confusion_matrix",
            "What it takes for what",
            charts.confusion(np.asarray(score["confusion"]), classes),
            large=len(classes) > charts.FEW_CLASSES,
            explanation=f"{candidate['name']}, photos that were put aside. Blue: right; orange:"
            f" wrong.{repeated}",
        ),
        Chart(
            "per_photo",
            "Every photo",
            charts.per_photo(probabilities, labels, photos["names"], classes),
            explanation=f"{candidate['name']}: how probable it found the right answer when the"
            f" photo was put aside; {order}.{repeated}",
        ),
    ]
    if found["permutation"]:
        test = found["permutation"]
        figure = charts.permutation(test["accuracies"], test["observed"])
        said = tables.luck(found)
        shown_charts.append(Chart("permutation", "Could it be luck?", figure, explanation=said))
    if found["learning_curve"]:
        curve = found["learning_curve"]
        figure = charts.learning_curve(
            [point["photos"] for point in curve], [_estimate(point) for point in curve], guessing
        )
        said = tables.more_photos(found)
        shown_charts.append(
            Chart("learning_curve", "Would more photos help?", figure, explanation=said)
        )
    return shown_charts + _choices(found)


def _choices(found: Found) -> list[Chart]:
    """What the candidates chose from: layers and grids, or how long to tune."""
    shown_charts = []
    for place, one in enumerate(found["candidates"]):
        shares: dict[tuple[str, int], float] = {}
        for choice in one["choices"]:
            if "layer" in choice:
                key = choice["layer"], choice["grid"]
                shares[key] = shares.get(key, 0.0) + choice["share"]
        if shares:
            figure = charts.choices(shares)
            shown_charts.append(Chart(f"choices_{place + 1}", one["name"], figure))
        if one["losses"]:
            passes, losses = ([at[key] for at in one["losses"]] for key in ("epochs", "loss"))
            guessing = float(np.log(len(found["photos"]["class_names"])))
            figure = charts.epochs(passes, losses, guessing)
            shown_charts.append(Chart(f"choices_{place + 1}_epochs", one["name"], figure))
    return shown_charts


def _estimates(found: Found) -> dict[str, dict[str, Estimate]]:
    return {
        one["name"]: {
            said: Estimate(one[protocol]["accuracy"], *one[protocol]["accuracy_interval"])
            for protocol, said in PROTOCOLS.items()
            if one[protocol]
        }
        for one in found["candidates"]
    }


def _estimate(point: Mapping[str, Any]) -> Estimate:
    return Estimate(point["accuracy"], point["low"], point["high"])


def _gallery(found: Found, shown: np.ndarray, heat: np.ndarray | None) -> Gallery:
    """The photos with what was said of them when they were put aside, the worst first."""
    photos = found["photos"]
    classes = [display_name(name) for name in photos["class_names"]]
    probabilities = np.asarray(tables.score(tables.chosen(found))["probabilities"])
    order = tables.worst_first(probabilities, photos["labels"])[:SHOWN]
    columns = [shown[order]]
    if heat is not None:
        columns.append(gradcam.overlay(shown[order], heat[order], shown.shape[1]))
    tiles = []
    for row, index in enumerate(order):
        said, label = int(probabilities[index].argmax()), photos["labels"][index]
        right = said == label
        sure = percent(probabilities[index, said])
        tiles.append(
            Tile(
                tuple(_reduced(column[row]) for column in columns),
                classes[label],
                (
                    f"{'✓' if right else '✗ taken for'} {classes[said]} {sure}",
                    charts.shortened(photos["names"][index]),
                ),
                "right" if right else "wrong",
            )
        )
    return Gallery(
        "photos",
        "The photos, the worst first",
        "As the model sees them, with what it said when the photo was put aside."
        + (f" The first {SHOWN} of {len(shown)}." if len(shown) > SHOWN else "")
        + (
            ""
            if heat is None
            else " Beside it, what the final model, which has learned from all photos, sees its"
            " answer in; the rest is dimmed (Grad-CAM)."
        ),
        tuple(tiles),
        photos=True,
    )


def _reduced(picture: np.ndarray) -> np.ndarray:
    if picture.shape[0] <= SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _scalars(found: Found, writer: summaries.Writer) -> None:
    for one in found["candidates"]:
        for protocol in PROTOCOLS:
            if one[protocol]:
                kept = ("accuracy", "balanced_accuracy", "auc", "log_loss")
                scores = {key: one[protocol][key] for key in kept if one[protocol][key] is not None}
                tagged = {f"{protocol}_{key}/{one['name']}": v for key, v in scores.items()}
                writer.write_scalars(0, tagged)
    for point in found["learning_curve"]:
        writer.write_scalars(round(point["photos"]), {"learning_curve/accuracy": point["accuracy"]})
    if found["permutation"]:
        test = found["permutation"]
        writer.write_scalars(0, {"permutation/p": test["p"], "permutation/mean": test["mean"]})
        accuracies = np.asarray(test["accuracies"], np.float32)
        writer.write_histograms(0, {"permutation/accuracies": accuracies})
