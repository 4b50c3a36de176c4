"""Runs of task 2 in which nothing is larger than it must be."""

from cifsel.selfie.protocol import pretrained
from cifsel.selfie.run import evaluate_and_train
from cifsel.workdir import summaries
from configs import selfie as selfie_config

MODEL, SIZE = "efficientnetv2-mini", 64
QUICK = {
    "image_size": SIZE,
    "layers": "choose",
    "depths": (0.5, 1.0),
    "grids": (1, 3),
    "l2": (1e-3, 1e-1),
    "repeats": 2,
    "permutations": 4,
    "compare_crops": False,  # Looking for drawn faces takes seconds.
}
# Repeated cross-validation of the probe alone.
LEAST = {"permutations": 0, "leave_one_out": 0}
# In a report with photos: each photo with its evidence, and the scale of the evidence.
PICTURES = 2 * 16 + 1


def settings(task1, folder, /, **fields):
    config = selfie_config.get_config()
    config.update(QUICK | {"photos": str(folder), "init_from": str(task1)} | fields)
    return config


def run(config, folder):
    return evaluate_and_train(config, str(folder), summaries.Summaries())


def restored(task1):
    """The backbone of task 1."""
    return pretrained.pretrained_backbones(
        str(task1), imagenet_model=MODEL, weights_dir=None, image_size=SIZE, compare=False
    )[0]
