"""All of task 1, small and from scratch, on drawn images: everything works, offline, in minutes."""

import copy
from typing import Any

from ml_collections import ConfigDict

from cifsel import task1
from cifsel.terminal import say


def run(config: ConfigDict, folder: str) -> dict[str, Any]:
    """Trains config.models one after the other, and compares them.

    Returns:
      What comparison.json holds.
    """
    say("quickstart: synthetic images, drawn by this program; nothing here says anything of photos")
    configs = []
    for model in config.models:
        one = copy.deepcopy(config)
        one.task, one.model, one.name = "task1", model, model
        configs.append(one)
    result = task1.run(configs, folder)
    say("For real images: python -m cifsel.main --config=configs/effnet.py")
    return result
