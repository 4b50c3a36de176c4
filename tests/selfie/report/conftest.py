"""Made-up outcomes of task 2 that are consistent in themselves."""

import numpy as np
import pytest

from cifsel.evaluation import scoring
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.candidates import (
    CandidateScores,
    Difference,
    FinalSettings,
    ProbeChoice,
)
from cifsel.selfie.protocol.learning_curve import CurvePoint
from cifsel.selfie.protocol.permutation import PermutationTest
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.scores import Scores, Sure
from cifsel.workdir.provenance import Devices, Provenance

LAYERS = ("block2b", "block5e", "block6h", "top")
PROVENANCE = Provenance(
    versions={"python": "3.11.9", "jax": "0.10.2", "tensorflow-datasets": None},
    devices=Devices("cpu", "cpu", 1, "a processor", 2),
    command="python -m cifsel.main --config=configs/selfie.py --config.photos=selfies",
    git_commit="0123456789abcdef0123456789abcdef01234567",
    finished="2026-07-01T12:00:00+00:00",
)
DIFFERENCES = (
    Difference(
        "task-1 checkpoint, probe",
        "ImageNet weights, probe",
        mean=0.125,
        low=-0.04,
        high=0.29,
        p=0.18,
    ),
    Difference(
        "task-1 checkpoint, probe",
        "task-1 checkpoint, without the crop, probe",
        mean=0.2,
        low=0.05,
        high=0.35,
        p=0.012,
    ),
)


@pytest.fixture(scope="session")
def make_outcome():
    """(classes=2, each=12, leave_one_out=True) -> an outcome with three candidates."""

    def make(classes=2, each=12, leave_one_out=True):
        rng = np.random.default_rng(classes)
        photos = _photos(classes, each)
        candidates = tuple(
            _candidate(rng, photos, name, crop, skill=skill, leave_one_out=leave_one_out)
            for name, crop, skill in (
                ("task-1 checkpoint, probe", "face", 1.4),
                ("ImageNet weights, probe", "face", 0.7),
                ("task-1 checkpoint, without the crop, probe", "none", 1.0),
            )
        )
        total = photos.count
        observed = round(candidates[0].photo_by_photo.right) / total
        guessing = 1 / classes
        return Outcome(
            name="selfie",
            recipe="probe",
            task="selfie",
            photos=photos,
            candidates=candidates,
            differences=DIFFERENCES,
            permutation=PermutationTest(
                p=0.004,
                accuracies=rng.binomial(total, guessing, 200) / total,
                observed=observed,
                mean=guessing,
                interval=(guessing - 0.02, guessing + 0.02),
            ),
            learning_curve=(
                CurvePoint(0.3 * total, 0.55, 0.45, 0.68),
                CurvePoint(0.5 * total, 0.63, 0.53, 0.74),
                CurvePoint(0.8 * total, 0.71, 0.61, 0.83),
            ),
            final=FinalSettings(
                layers=("block5e",),
                grid=3,
                l2=0.01,
                temperature=1.31,
                sure=Sure(0.71, 0.625, 0.933),
                unlike_from=1.9,
            ),
            seconds=124.6,
            provenance=PROVENANCE,
        )

    return make


@pytest.fixture(scope="session")
def pictures():
    """(N) -> photos as the model sees them, and heat."""

    def make(count, size=48):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:size, :size] / size
        tone = rng.uniform(60, 255, (count, 1, 1, 3))
        face = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.15)[None, ..., None]
        shown = np.where(face, tone, 255 - tone) * (0.5 + 0.5 * y[None, ..., None])
        return shown.astype(np.uint8), rng.uniform(0, 1, (count, 7, 7)).astype(np.float32)

    return make


def _photos(classes, each):
    class_names = ["happy", "sad", "in_between", "angry"][:classes]
    class_names += [f"mood_{index}" for index in range(4, classes)]
    labels = np.repeat(np.arange(classes), each)
    total = len(labels)
    return PhotoSet(
        class_names=tuple(class_names),
        names=tuple(f"{class_names[k]}/IMG_{1000 + 7 * i}.jpg" for i, k in enumerate(labels)),
        labels=labels,
        groups=np.array([0, 0, *range(1, total - 1)]),
        taken=(None,) * total,
        skipped=("happy/notes.txt: no photo",),
        copies=((0, 1, False),),
        crop="face",
        faces=(((10, 10, 90, 90),) * (total - 1) + (None,)),
        asked="photos",
    )


def _candidate(rng, photos, name, crop, *, skill, leave_one_out):
    one_by_one = _scores(rng, photos, skill, 1) if leave_one_out else None
    kfold = _scores(rng, photos, skill, 20)
    return CandidateScores(
        name=name,
        source="imagenet" if name.startswith("ImageNet") else "/tmp/task1/effnet",
        model="efficientnetv2-b0",
        alpha=1.0,
        crop=crop,
        kfold=kfold,
        leave_one_out=one_by_one,
        choices=_choices(rng),
    )


def _scores(rng, photos, skill, repeats):
    labels, classes = photos.labels, photos.num_classes
    logits = rng.normal(0, 1, (len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    probabilities = scoring.softmax(logits)
    counts = scoring.confusion(labels, probabilities.argmax(1), classes)
    right = int(np.trace(counts))
    drift = 0.0 if repeats == 1 else 0.35  # A mean over repetitions is no whole number.
    return Scores(
        examples=len(labels),
        repeats=repeats,
        right=right + drift,
        accuracy=(right + drift) / len(labels),
        accuracy_interval=scoring.wilson(right, len(labels)),
        balanced_accuracy=float((np.diag(counts) / counts.sum(1)).mean()),
        auc=0.81,
        log_loss=float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()),
        confusion=counts + drift * (counts > 1),
        probabilities=probabilities,
    )


def _choices(rng):
    shares = rng.dirichlet([0.5] * 8)
    settings = [(layer, grid) for layer in LAYERS for grid in (1, 3, 7)][: len(shares)]
    return tuple(
        ProbeChoice((layer,), grid, 0.01, float(share))
        for (layer, grid), share in zip(settings, shares, strict=True)
    )
