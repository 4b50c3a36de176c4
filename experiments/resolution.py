"""Scores a run's weights on its validation images at several resolutions.

    python -m experiments.resolution RUN 96 112 128

The run may have been trained at any of them: which one a network should be used at is another
question than which one it was trained at.
"""

import dataclasses
import functools

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import command, evaluate, features, inference, prepare, restore, usage, workdir


def score(run: str, sizes: list[int]) -> None:
    """Prints accuracy and loss at each size."""
    folder = epath.Path(run)
    trained = restore.trained(folder)
    val = prepare.dataset(ConfigDict(workdir.read_json(folder / workdir.CONFIG))).val
    for size in sizes:
        view = dataclasses.replace(trained.view, image_size=size)
        forward = functools.partial(features.logits(trained.model, view), trained.variables)
        logits = inference.map_batches(forward, val.images, 64)
        right = int(np.sum(logits.argmax(1) == val.labels))
        low, high = evaluate.wilson(right, len(val))
        print(
            f"{size:>4} px: {right / len(val):.2%} of {len(val):,} validation images"
            f" ({low:.1%} to {high:.1%}), loss {evaluate.cross_entropy(logits, val.labels):.3f}"
        )


def main() -> None:
    """Parses the command line."""
    parser = usage.Parser("experiments.resolution", __doc__)
    parser.add_argument("run", metavar="RUN", help="workdir of a finished run")
    parser.add_argument("sizes", nargs="+", type=int, metavar="PIXELS", help="to score it at")
    flags = parser.parse_args()
    command.start()
    command.guarded(lambda: score(flags.run, flags.sizes))


if __name__ == "__main__":
    main()
