"""Both models, small and from scratch, on drawn images: everything works, offline, in minutes."""

import copy
from pathlib import PurePath
from typing import Any

from ml_collections import ConfigDict

from cifsel import summaries, train
from cifsel.terminal import say, show_table


def run(config: ConfigDict, folder: str) -> dict[str, dict[str, Any]]:
    """Trains config.models one after the other, each in a folder of its own below `folder`.

    Returns:
      What each metrics.json holds, by model.
    """
    say("quickstart: synthetic images, drawn by this program; nothing here says anything of photos")
    results = {}
    for model in config.models:
        one = copy.deepcopy(config)
        one.task, one.model, one.name = "task1", model, f"quickstart-{model}"
        below = str(PurePath(folder) / model) if "://" not in folder else f"{folder}/{model}"
        with summaries.open_writer(below) as writer:
            results[model] = train.train_and_evaluate(one, below, writer)
    show_table(
        "quickstart on drawn images",
        {
            model: "test accuracy {accuracy:.1%}  (95 % interval {0:.1%} to {1:.1%})".format(
                *metrics["test"]["accuracy_interval"], **metrics["test"]
            )
            for model, metrics in results.items()
        },
    )
    say("For real images: python -m cifsel.main --config=configs/effnet.py")
    return results
