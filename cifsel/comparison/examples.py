"""Which test images a comparison shows, and what stands below them."""

from collections.abc import Sequence

import numpy as np

from cifsel.comparison.duplicates import Duplicate
from cifsel.comparison.runs import Candidate
from cifsel.comparison.suspects import Suspect
from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring
from cifsel.prediction import gradcam, trained_model
from cifsel.reports.page import Gallery, Tile
from cifsel.reports.style import percent, plain

# Enough to judge, few enough to look at.
PAIRS, PER_PAIR, DISAGREEMENTS, CAMS_OF_A_KIND, SUSPECTS, DUPLICATES = 6, 4, 16, 4, 24, 16
CAM_SIZE = 96


class Examples:
    """Chooses among the test images of a data set for two candidates, the better one first."""

    def __init__(self, dataset: Dataset, candidates: tuple[Candidate, Candidate]) -> None:
        self._dataset, self._pair = dataset, candidates
        self._names = [plain(name) for name in dataset.class_names]
        self._probabilities = [mean_probabilities(candidate) for candidate in candidates]
        self._rng = np.random.default_rng(0)

    def confused(self, which: int) -> Gallery:
        """The most frequent mistakes of a candidate, with some of the images."""
        candidate, labels = self._pair[which], self._dataset.test.labels
        classes = len(self._names)
        counts = confusion(candidate, classes)
        wrong = counts - np.diag(np.diag(counts))
        tiles = []
        for place in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]:
            true, predicted = divmod(int(place), classes)
            taken = self._probabilities[which].argmax(1) == predicted
            members = np.flatnonzero((labels == true) & taken)
            if not len(members):
                continue
            chosen = self._some(members, PER_PAIR)
            share = wrong[true, predicted] / len(candidate.runs) / max(1, (labels == true).sum())
            tiles.append(
                Tile(
                    tuple(self._dataset.test.images[chosen]),
                    f"{self._names[true]}",
                    (f"taken for {self._names[predicted]}: {percent(share)}",),
                )
            )
        return Gallery(
            f"confused_{which + 1}",
            f"What {candidate.name} confuses most",
            "Share of the test images of the first class that it takes for the second, and some of"
            " them drawn at random.",
            tuple(tiles),
        )

    def disagreements(self, winner: int) -> Gallery:
        """Images that all seeds of one candidate get right and all of the other wrong."""
        ours, theirs = self._pair[winner], self._pair[1 - winner]
        found = np.flatnonzero(ours.right("test").all(0) & ~theirs.right("test").any(0))
        chosen = self._some(found, DISAGREEMENTS)
        return Gallery(
            f"only_{winner + 1}",
            f"Only {ours.name} is right",
            f"{len(found):,} test images that every seed of {ours.name} gets right and none of"
            f" {theirs.name}; {len(chosen)} of them drawn at random, with the wrong answer.",
            tuple(self._tile(i, (1 - winner,)) for i in chosen),
        )

    def attention(self) -> Gallery:
        """Grad-CAM of both candidates on images that both, one or none of them gets right."""
        a, b = (candidate.best_run().right("test") for candidate in self._pair)
        kinds = (a & b, a & ~b, ~a & b, ~a & ~b)
        chosen = np.concatenate(
            [self._some(np.flatnonzero(kind), CAMS_OF_A_KIND) for kind in kinds]
        ).astype(np.int64)
        images = self._dataset.test.images[chosen]
        columns = [gradcam.overlay(images, np.ones((len(chosen), 1, 1)), CAM_SIZE)]
        predicted = []
        for candidate in self._pair:
            run = candidate.best_run()
            predicted.append(run.logits["test"][chosen].argmax(1))
            heat = gradcam.heat(trained_model.restore(run.folder), images, predicted[-1])
            columns.append(gradcam.overlay(images, heat, CAM_SIZE))
        tiles = []
        for row, position in enumerate(chosen):
            notes = [
                self._said(position, predicted[which][row], candidate.name)
                for which, candidate in enumerate(self._pair)
            ]
            label = self._dataset.test.labels[position]
            tiles.append(
                Tile(tuple(column[row] for column in columns), self._names[label], tuple(notes))
            )
        first, second = (candidate.name for candidate in self._pair)
        return Gallery(
            "attention",
            "Where they look",
            f"Grad-CAM: the image, then what {first} and what {second} saw its own answer in, the"
            " rest dimmed. Images drawn at random of those that both, only the first, only the"
            " second, and neither gets right; the best seed of each.",
            tuple(tiles),
        )

    def suspects(self, found: Sequence[Suspect], runs: int, least: float) -> Gallery:
        """Labels that every run contradicts with confidence."""
        tiles = [
            Tile(
                (self._dataset.test.images[one.position],),
                f"labelled {self._names[one.label]}",
                (f"all say {self._names[one.predicted]} {percent(one.probability)}",),
            )
            for one in found[:SUSPECTS]
        ]
        return Gallery(
            "suspects",
            "Labels to doubt",
            f"{len(found)} test images for which all {runs} runs give one and the same other class,"
            f" with a mean probability of at least {percent(least)}: wrong labels, several things"
            " in one image, or a shared blind spot. They stay in every figure of this report."
            + (f" The first {SUSPECTS}:" if len(found) > SUSPECTS else ""),
            tuple(tiles),
        )

    def duplicates(self, found: Sequence[Duplicate], criterion: str) -> Gallery:
        """Test images that were in the training images as well."""
        training = np.concatenate([self._dataset.train.images, self._dataset.val.images])
        labels = np.concatenate([self._dataset.train.labels, self._dataset.val.labels])
        exact = sum(one.exact for one in found)
        evenly = np.linspace(0, len(found) - 1, min(len(found), DUPLICATES)).astype(int)
        shown = [found[i] for i in evenly]
        tiles = [
            Tile(
                (self._dataset.test.images[one.test_position], training[one.train_position]),
                self._names[self._dataset.test.labels[one.test_position]],
                (
                    "identical" if one.exact else f"similarity {one.similarity:.3f}",
                    *self._other_label(one, int(labels[one.train_position])),
                ),
            )
            for one in shown
        ]
        return Gallery(
            "duplicates",
            "Test images with a twin in training",
            f"{exact} exact and {len(found) - exact} near duplicates. {criterion} Shown from the"
            " most to the least similar, the test image first.",
            tuple(tiles),
        )

    def _other_label(self, one: Duplicate, label: int) -> tuple[str, ...]:
        same = label == self._dataset.test.labels[one.test_position]
        return () if same else (f"the twin is labelled {self._names[label]}",)

    def _some(self, positions: np.ndarray, count: int) -> np.ndarray:
        return self._rng.permutation(positions)[:count]

    def _tile(self, position: int, who: Sequence[int]) -> Tile:
        notes = []
        for which in who:
            probabilities = self._probabilities[which][position]
            predicted = int(probabilities.argmax())
            notes.append(f"{self._names[predicted]} {percent(probabilities[predicted])}")
        label = self._dataset.test.labels[position]
        return Tile((self._dataset.test.images[position],), self._names[label], tuple(notes))

    def _said(self, position: int, predicted: int, name: str) -> str:
        sign = "✓" if predicted == self._dataset.test.labels[position] else "✗"
        return f"{sign} {name}: {self._names[predicted]}"


def confusion(candidate: Candidate, num_classes: int) -> np.ndarray:
    """(K, K) counts over the test images and all seeds, rows true, columns predicted."""
    predictions = np.concatenate([run.logits["test"].argmax(1) for run in candidate.runs])
    labels = np.tile(candidate.runs[0].labels["test"], len(candidate.runs))
    return scoring.confusion(labels, predictions, num_classes)


def mean_probabilities(candidate: Candidate) -> np.ndarray:
    """(N, K) class probabilities of the test images, averaged over the seeds."""
    return np.mean([scoring.softmax(run.logits["test"]) for run in candidate.runs], axis=0)
