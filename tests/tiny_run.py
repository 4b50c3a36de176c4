"""Runs of task 1 in which nothing is larger than it must be.

As a script, it serves `tiny_commands.Server`: it runs `cifsel.main` with such runs in its forks.
"""

import gc
import json
import os
import select
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import build_tiny

from cifsel import build, task1
from cifsel.data import drawn_images, splits
from cifsel.models import classifier, efficientnet_v2
from cifsel.reports import layout, style
from cifsel.reports.run_report import RunReport
from cifsel.workdir import summaries

_DRAW_CLASSES, _BUILD = drawn_images.draw_classes, classifier.build
# The model of layers of our own: EfficientNet's stem and top. All others are `build_tiny`.
OWN_LAYERS = "efficientnetv2-s"
_STEM_AND_TOP = efficientnet_v2.Variant(8, (), top=16)
# Fields of a config.
SMALL = {
    "dataset": "drawn",
    "weights": "none",
    "image_size": 32,
    "train_size": 0,
    "batch_size": 40,
    "epochs": 2,
}


def few_images(**_: Any) -> splits.Dataset:
    """Stands in for `drawn_images.draw_classes`: 100 training, 50 validation, 50 test images."""
    return _DRAW_CLASSES(train_per_class=2, val_per_class=1, test_per_class=1, seed=0)


def build_small(name: str, **options: Any) -> classifier.Classifier:
    """Stands in for `classifier.build`."""
    return (_BUILD if name == OWN_LAYERS else build_tiny)(name, **options)


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Gives runs small models and few images."""
    for module in (build, classifier):
        patch.setattr(module, "build", build_small)
    patch.setitem(efficientnet_v2.VARIANTS, OWN_LAYERS.split("-")[1], _STEM_AND_TOP)
    patch.setattr(drawn_images, "draw_classes", few_images)


def leave_out_report(patch: pytest.MonkeyPatch) -> None:
    """Leaves out the figures and the page, which take seconds."""
    patch.setattr(task1.Run, "_samples", lambda _: None)
    for drawing in ("_draw_samples", "_draw_page"):
        patch.setattr(RunReport, drawing, lambda *_: None)


def leave_out_drawing(patch: pytest.MonkeyPatch) -> None:
    """Charts are made, but neither laid out nor drawn, which takes seconds."""
    patch.setattr(layout, "freeze", lambda figure: figure)
    patch.setattr(style, "to_rgb", lambda _: np.zeros((8, 8, 3), np.uint8))
    patch.setattr(style, "to_svg", lambda *_: "<svg></svg>")


def _fork_for_each_line(statuses: Path) -> None:
    """Forks for each line of the input, and returns in the forks, ready for the command.

    The exit status of each is written to a file of the folder `statuses`. The server ends with its
    input.
    """
    # The commands must not find that their own standard input has been read.
    requests = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    running: set[int] = set()
    while True:
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            running.remove(ended[0])
            file = statuses / f".{ended[0]}"
            file.write_text(str(os.waitstatus_to_exitcode(ended[1])))
            file.rename(statuses / str(ended[0]))
        if not select.select([requests], [], [], 0.02)[0]:
            continue
        line = requests.readline()
        if not line:
            os._exit(0)
        log, arguments, environment = json.loads(line)
        if pid := os.fork():
            running.add(pid)
            print(pid, flush=True)
            continue
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["cifsel.main", *arguments]
        return


def main() -> None:
    """Serves commands."""
    from absl import app, logging

    from cifsel import main as command
    from cifsel.config import flag

    patch = pytest.MonkeyPatch()
    make_small(patch)
    leave_out_report(patch)
    patch.setattr(summaries, "open_writer", lambda _: summaries.Summaries())
    logging.set_verbosity(logging.WARNING)
    sys.stdout.reconfigure(line_buffering=True)
    # As in the tests themselves, and what is here now is not copied into the forks.
    gc.set_threshold(20_000, 20, 20)
    gc.freeze()
    _fork_for_each_line(Path(sys.argv[1]))
    app.run(command.main, flags_parser=flag.parse_flags)


if __name__ == "__main__":
    main()
