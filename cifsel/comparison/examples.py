"""Galleries of test images for the report: mistakes, disagreements, Grad-CAM, doubtful images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from cifsel.comparison.candidates import Candidate
from cifsel.comparison.duplicates import COPIES_CRITERION, CRITERION, Duplicate
from cifsel.comparison.findings import Findings
from cifsel.comparison.label_errors import MIN_PROBABILITY
from cifsel.comparison.reviewed import Review, ReviewEntry
from cifsel.comparison.scores import confusion, mean_probabilities
from cifsel.data.splits import Dataset
from cifsel.prediction import gradcam, trained_model
from cifsel.reports.page import Gallery, Tile
from cifsel.reports.style import display_name, percent
from cifsel.runtime.terminal import count

# Numbers of images: enough to judge, few enough to look at.
CONFUSED_PAIRS, IMAGES_PER_PAIR, DISAGREEMENTS, GRADCAMS_OF_A_KIND = 6, 4, 16, 3
LABEL_ERRORS, DUPLICATES = 24, 16
GRADCAM_SIDE = 160  # pixels


class Examples:
    """Chooses test images of a data set for two candidates.

    Random draws come from one generator with a fixed seed. The galleries are the same each time if
    they are made in the same order.

    Args:
      dataset: the images.
      pair: the chosen candidate and its rival.
    """

    def __init__(self, dataset: Dataset, pair: tuple[Candidate, Candidate]) -> None:
        self._dataset, self._pair = dataset, pair
        self._names = [display_name(name) for name in dataset.class_names]
        self._probabilities = [mean_probabilities(candidate) for candidate in pair]
        self._rng = np.random.default_rng(0)

    def confusions(self, which: int) -> Gallery:
        """Shows the most frequent mistakes of one of the two candidates, with some images."""
        candidate, labels = self._pair[which], self._dataset.test.labels
        predictions = self._probabilities[which].argmax(1)
        counts = confusion(candidate, len(self._names))
        mistakes = counts - np.diag(np.diag(counts))
        tiles = []
        for place in np.argsort(-mistakes, axis=None, kind="stable")[:CONFUSED_PAIRS]:
            true, predicted = divmod(int(place), len(self._names))
            members = np.flatnonzero((labels == true) & (predictions == predicted))
            if not len(members):
                continue
            chosen = self._draw(members, IMAGES_PER_PAIR)
            examples = max(1, (labels == true).sum())
            share = mistakes[true, predicted] / len(candidate.runs) / examples
            tiles.append(
                Tile(
                    tuple(self._dataset.test.images[chosen]),
                    self._names[true],
                    (f"taken for {self._names[predicted]}: {percent(share)}",),
                )
            )
        return Gallery(
            f"confused_{which + 1}",
            f"What {candidate.name} confuses most",
            "Share of the test images of a class that it takes for another one, with some of them"
            " drawn at random.",
            tuple(tiles),
        )

    def disagreements(self, winner: int) -> Gallery:
        """Shows images that all seeds of one candidate get right and all of the other wrong."""
        ours, theirs = self._pair[winner], self._pair[1 - winner]
        positions = np.flatnonzero(ours.right("test").all(0) & ~theirs.right("test").any(0))
        chosen = self._draw(positions, DISAGREEMENTS)
        return Gallery(
            f"only_{winner + 1}",
            f"Only {ours.name} is right",
            f"{count(len(positions), 'test image')} that every seed of {ours.name} gets right and"
            f" none of {theirs.name}. Shown, drawn at random: {len(chosen)}, with the wrong"
            " answer.",
            tuple(self._wrong_answer(int(position), 1 - winner) for position in chosen),
        )

    def gradcams(self) -> Gallery:
        """Shows Grad-CAM of both candidates on images that both, one or neither gets right."""
        a, b = (candidate.best_run().right("test") for candidate in self._pair)
        kinds = (a & b, a & ~b, ~a & b, ~a & ~b)
        chosen = np.concatenate(
            [self._draw(np.flatnonzero(kind), GRADCAMS_OF_A_KIND) for kind in kinds]
        ).astype(np.int64)
        images = self._dataset.test.images[chosen]
        # A map of 1 x 1 leaves an image as it is.
        columns = [gradcam.overlay(images, np.ones((len(chosen), 1, 1)), GRADCAM_SIDE)]
        labels, without, predictions = ["the image"], [], []
        for candidate in self._pair:
            run = candidate.best_run()
            predictions.append(run.predictions("test")[chosen])
            heat = gradcam.heat(trained_model.restore(run.folder), images, predictions[-1])
            if gradcam.has_places(heat):
                columns.append(gradcam.overlay(images, heat, GRADCAM_SIDE))
                labels.append(candidate.name)
            else:
                without.append(candidate)
        tiles = []
        for row, position in enumerate(chosen):
            label = self._dataset.test.labels[position]
            notes = [
                f"{candidate.name} says {self._names[predicted[row]]}"
                f" {'✓' if predicted[row] == label else '✗'}"
                for candidate, predicted in zip(self._pair, predictions, strict=True)
            ]
            pictures = tuple(column[row] for column in columns)
            tiles.append(Tile(pictures, self._names[label], tuple(notes), labels=tuple(labels)))
        return Gallery(
            "attention",
            "Where they look",
            "Grad-CAM: the image, and beside it in colour the regions that each network bases its"
            " own answer on. Images are drawn at random from those that both, only the first, only"
            " the second, and neither gets right. Answers are of the best seed of each."
            + "".join(map(_no_map, without)),
            tuple(tiles) if len(labels) > 1 else (),
            heat=True,
        )

    def label_errors(
        self, findings: Findings, num_runs: int, reviewed: ReviewEntry | None = None
    ) -> Gallery:
        """Shows test images whose label every run contradicts with confidence."""
        label_errors = findings.label_errors
        tiles = [
            Tile(
                (self._dataset.test.images[error.position],),
                f"labelled {self._names[error.label]}",
                (
                    f"all say {self._names[error.predicted]} {percent(error.probability)}",
                    *_said_by_people(findings.review, error.position),
                ),
            )
            for error in label_errors[:LABEL_ERRORS]
        ]
        return Gallery(
            "suspects",
            "Suspected label errors",
            f"{count(len(label_errors), 'test image')} for which all {num_runs} runs give one and"
            " the same other class, with a mean probability of at least"
            f" {percent(MIN_PROBABILITY)}. The label may be wrong, the image may show several"
            " objects, or all networks share an error. These images stay in every figure of this"
            " report."
            + (f" {reviewed.sentence()}" if reviewed else "")
            + (f" The first {LABEL_ERRORS}:" if len(label_errors) > LABEL_ERRORS else ""),
            tuple(tiles),
            folded=True,
        )

    def duplicates(self, duplicates: Sequence[Duplicate]) -> Gallery:
        """Shows test images that are in training too."""
        criterion = COPIES_CRITERION if self._dataset.names else CRITERION
        exact = sum(duplicate.exact for duplicate in duplicates)
        count = min(len(duplicates), DUPLICATES)
        evenly = np.linspace(0, len(duplicates) - 1, count).astype(int)
        return Gallery(
            "duplicates",
            "Test images with a duplicate in training",
            f"{exact} exact and {len(duplicates) - exact} near duplicates. {criterion} Shown from"
            " the most to the least similar, the test image first.",
            tuple(self._duplicate(duplicates[i]) for i in evenly),
            folded=True,
        )

    def _duplicate(self, duplicate: Duplicate) -> Tile:
        train, val, test = self._dataset.train, self._dataset.val, self._dataset.test
        # Positions of training images go on in the validation images.
        part, position = train, duplicate.train_position
        if position >= len(train):
            part, position = val, position - len(train)
        test_label, train_label = test.labels[duplicate.test_position], part.labels[position]
        notes = ["identical" if duplicate.exact else f"similarity {duplicate.similarity:.3f}"]
        if train_label != test_label:
            notes.append(f"the duplicate is labelled {self._names[train_label]}")
        pictures = test.images[duplicate.test_position], part.images[position]
        return Tile(pictures, self._names[test_label], tuple(notes))

    def _draw(self, positions: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " m"]:
        return self._rng.permutation(positions)[:count]

    def _wrong_answer(self, position: int, which: int) -> Tile:
        """Makes a tile of an image with the answer of one of the two candidates."""
        probabilities = self._probabilities[which][position]
        predicted = int(probabilities.argmax())
        answer = f"{self._names[predicted]} {percent(probabilities[predicted])}"
        label = self._dataset.test.labels[position]
        return Tile((self._dataset.test.images[position],), self._names[label], (answer,))


def _said_by_people(review: Review | None, position: int) -> tuple[str, ...]:
    """A line on what people said of the label of a test image, if they looked at it."""
    if review is None or not review.looked_at[position]:
        return ()
    return ("people reject the label" if review.rejected[position] else "people confirm the label",)


def _no_map(candidate: Candidate) -> str:
    size = candidate.config["image_size"]
    return (
        f" There is no map of {candidate.name}. Of an image of {size} pixels, its last layer keeps"
        " a single cell, which says nothing of places."
    )
