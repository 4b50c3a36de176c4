"""Scores a run's weights on its validation images at several resolutions, mirrored or not.

    python -m experiments.resolution RUN 96 112 128
    python -m experiments.resolution RUN 128 --mirror off on

The run may have been trained at any resolution. With mirroring, logits are averaged over each image
and its mirror image. Gains are over the first line and paired on the images.
"""

import dataclasses
import functools

import numpy as np
from ml_collections import ConfigDict

from cifsel import build, workdir
from cifsel.comparison import paired
from cifsel.config import Parser, path
from cifsel.evaluation import features, inference, scoring
from cifsel.prediction import trained_model
from cifsel.runtime import command, remote, terminal


def score(run: str, sizes: list[int], mirrors: list[bool]) -> None:
    """Prints accuracy and loss at each size. Without `mirrors`, mirrors images if the run did."""
    folder = remote.place(run)
    trained = trained_model.restore(folder)
    val = build.dataset(ConfigDict(workdir.read_json(folder / workdir.CONFIG))).val
    baseline = None
    for size in sizes:
        for mirror in mirrors or [trained.view.mirror]:
            view = dataclasses.replace(trained.view, image_size=size, mirror=mirror)
            forward = functools.partial(features.logits(trained.model, view), trained.variables)
            logits = inference.map_batches(forward, val.images, 64)
            right = logits.argmax(1) == val.labels
            low, high = scoring.wilson(int(right.sum()), len(val))
            line = (
                f"{size:>4} px{', mirrored' if mirror else ''}: {right.mean():.2%} of"
                f" {len(val):,} validation images ({low:.1%} to {high:.1%}),"
                f" loss {scoring.cross_entropy(logits, val.labels):.3f}"
            )
            if baseline is None:
                baseline = right
            else:
                gain = paired.difference(right[np.newaxis], baseline[np.newaxis])
                line += f", gain {gain.mean:+.2%} ({gain.low:+.1%} to {gain.high:+.1%})"
            terminal.answer(line)


def main() -> None:
    """Parses the command line and scores the run."""
    parser = Parser("experiments.resolution", __doc__)
    parser.add_argument("run", type=path, metavar="RUN", help="workdir of a finished run")
    parser.add_argument("sizes", nargs="+", type=int, metavar="PIXELS", help="sizes to score at")
    words = "average over mirrored images: 'on', 'off' or both, default: as in the run"
    parser.add_argument("--mirror", nargs="+", choices=("on", "off"), default=[], help=words)
    flags = parser.parse_args()
    command.start()
    mirrors = [word == "on" for word in flags.mirror]
    command.guarded(lambda: score(flags.run, flags.sizes, mirrors))


if __name__ == "__main__":
    main()
