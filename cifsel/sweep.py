"""Task 1 as a whole: train every model with every seed, compare, write the report."""

import copy
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from cifsel import compare, train
from cifsel.runtime import remote
from cifsel.terminal import say
from cifsel.workdir import summaries


def run(configs: Sequence[ConfigDict], folder: str, seeds: int = 1) -> dict[str, Any]:
    """Trains what is not trained yet and compares it all.

    Interrupted at any point, the same call goes on from there.

    Args:
      configs: one per model, with distinct names.
      folder: gets a workdir `<name>-seed<k>` per run, and the comparison.
      seeds: how many of each, from the config's own on.

    Returns:
      What comparison.json holds.

    Raises:
      UserError: something given cannot be used.
      Interrupted: after Ctrl-C or SIGTERM, with everything saved.
    """
    below = []
    # All models of a seed before the next: stopped early, the seeds done are still comparable.
    for more in range(seeds):
        for config in configs:
            one = copy.deepcopy(config)
            one.seed = config.seed + more
            below.append(str(remote.place(folder) / f"{one.name}-seed{one.seed}"))
            say(f"run {len(below)} of {seeds * len(configs)}: {below[-1]}")
            with summaries.open_writer(below[-1]) as writer:
                train.train_and_evaluate(one, below[-1], writer)
    return compare.compare(below, folder)
