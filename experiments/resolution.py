"""Scores a run's weights on its validation images at several resolutions, mirrored or not.

    python -m experiments.resolution RUN 96 112 128
    python -m experiments.resolution RUN 128 --mirror off on

The run may have been trained at any of them: which one a network should be used at is another
question than which one it was trained at, and so is whether to average over each image and its
mirror image. Gains are paired, over the first line.
"""

import dataclasses
import functools

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import build, workdir
from cifsel.comparison import paired
from cifsel.config import arguments
from cifsel.evaluation import features, inference, scoring
from cifsel.prediction import trained_model
from cifsel.runtime import command


def score(run: str, sizes: list[int], mirrors: list[bool]) -> None:
    """Prints accuracy and loss at each size, mirrored and not; as the run did if not said."""
    folder = epath.Path(run)
    trained = trained_model.restore(folder)
    val = build.dataset(ConfigDict(workdir.read_json(folder / workdir.CONFIG))).val
    first = None
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
            if first is None:
                first = right
            else:
                gain = paired.difference(right[np.newaxis], first[np.newaxis])
                line += f", gain {gain.mean:+.2%} ({gain.low:+.1%} to {gain.high:+.1%})"
            print(line, flush=True)


def main() -> None:
    """Parses the command line."""
    parser = arguments.Parser("experiments.resolution", __doc__)
    parser.add_argument("run", metavar="RUN", help="workdir of a finished run")
    parser.add_argument("sizes", nargs="+", type=int, metavar="PIXELS", help="to score it at")
    words = "average over mirrored images ('on'), or not; default: as the run did"
    parser.add_argument("--mirror", nargs="+", choices=("on", "off"), default=[], help=words)
    flags = parser.parse_args()
    command.start()
    mirrors = [word == "on" for word in flags.mirror]
    command.guarded(lambda: score(flags.run, flags.sizes, mirrors))


if __name__ == "__main__":
    main()
