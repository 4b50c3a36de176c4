"""What a run of task 2 finds, made up but consistent in itself."""

import numpy as np
import pytest

from cifsel.evaluation import scoring

LAYERS = ("block2b", "block5e", "block6h", "top")


@pytest.fixture
def make_found():
    """(classes=2, each=12, leave_one_out=True) -> what metrics.json holds."""

    def make(classes=2, each=12, leave_one_out=True):
        rng = np.random.default_rng(classes)
        class_names = ["happy", "sad", "in_between", "angry"][:classes]
        class_names += [f"mood_{index}" for index in range(4, classes)]
        labels = np.repeat(np.arange(classes), each)
        names = [f"{class_names[k]}/IMG_{1000 + 7 * i}.jpg" for i, k in enumerate(labels)]
        candidates = [
            {
                "name": name,
                "source": source,
                "method": method,
                "leave_one_out": _score(rng, labels, classes, skill, 1) if leave_one_out else None,
                "kfold": _score(rng, labels, classes, skill, 20),
                "choices": choices,
                "losses": [{"epochs": e, "loss": 0.7 - 0.01 * e} for e in (0, 5, 10, 20)]
                if method == "finetune"
                else [],
            }
            for name, source, method, skill, choices in (
                ("task-1 checkpoint, probe", "/tmp/task1/effnet", "probe", 0.7, _choices(rng)),
                ("ImageNet weights, probe", "imagenet", "probe", 1.4, _choices(rng)),
                (
                    "ImageNet weights, fine-tuned",
                    "imagenet",
                    "finetune",
                    1.0,
                    [{"epochs": 20, "share": 0.7}, {"epochs": 40, "share": 0.3}],
                ),
            )
        ]
        best = candidates[1]["leave_one_out"] or candidates[1]["kfold"]
        right, total = round(best["right"]), len(labels)
        low, high = scoring.wilson(right, total)
        return {
            "name": "selfie",
            "recipe": "probe",
            "task": "selfie",
            "command": "python -m cifsel.main --config=configs/selfie.py --config.photos=selfies",
            "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "versions": {"python": "3.11.9", "jax": "0.10.2", "tensorflow-datasets": None},
            "devices": {"backend": "cpu", "kind": "cpu", "count": 1, "machine": "x86_64"},
            "finished": "2026-07-01T12:00:00+00:00",
            "config": {"name": "selfie"},
            "sentence": f"{right} of {total} right when each photo was held out; the true rate is"
            f" likely between {low:.0%} and {high:.0%}; more photos would help.",
            "notes": [
                "2 photos are near copies of others: they do not count as photos of their own"
            ],
            "photos": {
                "count": total,
                "class_names": class_names,
                "per_class": dict.fromkeys(class_names, each),
                "names": names,
                "labels": labels.tolist(),
                "groups": [0, 0, *range(1, total - 1)],
                "group_count": total - 1,
                "skipped": ["happy/notes.txt: no photo"],
                "copies": [[names[0], names[1], False]],
                "crop": "face",
                "faces": [[10, 10, 90, 90]] * (total - 1) + [None],
            },
            "candidates": candidates,
            "chosen": 1,
            "differences": [
                {
                    "name": "ImageNet weights, probe",
                    "against": "task-1 checkpoint, probe",
                    "mean": 0.125,
                    "low": -0.04,
                    "high": 0.29,
                    "p": 0.18,
                },
                {
                    "name": "ImageNet weights, fine-tuned",
                    "against": "ImageNet weights, probe",
                    "mean": -0.2,
                    "low": -0.35,
                    "high": -0.05,
                    "p": 0.012,
                },
            ],
            "permutation": {
                "p": 0.004,
                "accuracies": (rng.binomial(total, 1 / classes, 200) / total).tolist(),
                "observed": right / total,
                "mean": 1 / classes,
                "interval": [1 / classes - 0.02, 1 / classes + 0.02],
            },
            "learning_curve": [
                {"photos": count, "accuracy": accuracy, "low": accuracy - 0.1, "high": high}
                for count, accuracy, high in (
                    (0.3 * total, 0.55, 0.68),
                    (0.5 * total, 0.63, 0.74),
                    (0.8 * total, 0.71, 0.83),
                )
            ],
            "final": {
                "layer": "block5e",
                "grid": 3,
                "l2": 0.01,
                "temperature": 1.31,
                "sure_from": 0.71,
            },
            "seconds": {"features": 21.4, "folds": 8.2, "permutation": 95.0},
        }

    return make


@pytest.fixture
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


def _score(rng, labels, classes, skill, repeats):
    logits = rng.normal(0, 1, (len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    probabilities = scoring.softmax(logits)
    counts = scoring.confusion(labels, probabilities.argmax(1), classes)
    right = int(np.trace(counts))
    drift = 0.0 if repeats == 1 else 0.35  # A mean over repetitions is no whole number.
    return {
        "examples": len(labels),
        "right": right + drift,
        "accuracy": (right + drift) / len(labels),
        "accuracy_interval": list(scoring.wilson(right, len(labels))),
        "balanced_accuracy": float((np.diag(counts) / counts.sum(1)).mean()),
        "auc": 0.81,
        "log_loss": float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()),
        "confusion": (counts + drift * (counts > 1)).tolist(),
        "probabilities": probabilities.tolist(),
        "repeats": repeats,
    }


def _choices(rng):
    shares = rng.dirichlet([0.5] * 8)
    settings = [(layer, grid) for layer in LAYERS for grid in (1, 3, 7)][: len(shares)]
    return [
        {"layer": layer, "grid": grid, "l2": 0.01, "share": float(share)}
        for (layer, grid), share in zip(settings, shares, strict=True)
    ]
