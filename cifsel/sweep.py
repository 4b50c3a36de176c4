"""Trains each model with several seeds, compares them, and writes the report: all of task 1.

Task 1 is the question which network transfers better to the animals and people of CIFAR-100.
"""

import copy
from collections.abc import Sequence

from ml_collections import ConfigDict

from cifsel import compare, train
from cifsel.comparison.results import Comparison
from cifsel.runtime import command, remote
from cifsel.runtime.terminal import say
from cifsel.workdir import summaries


def run(configs: Sequence[ConfigDict], folder: str, seeds: int = 1) -> Comparison:
    """Trains the models that are not trained yet, and compares all.

    After an interruption the same call goes on from there. When all is done, it shows the result.

    Args:
      configs: one per model, with distinct names.
      folder: gets a workdir `<name>-seed<k>` per run, and the comparison.
      seeds: number of seeds per model, counted from the seed of the config.

    Returns:
      The content of comparison.json.

    Raises:
      UserError: a config, the data or the folder cannot be used.
      Interrupted: after Ctrl-C or SIGTERM, with everything saved.
    """
    compare.output_folder(folder)  # Else hours would pass before it is refused.
    workdirs: list[str] = []
    # All models with one seed come before the next seed. If it is stopped early, the seeds that
    # are complete can be compared.
    for offset in range(seeds):
        for config in configs:
            run_config = copy.deepcopy(config)
            run_config.seed = config.seed + offset
            workdir = str(remote.place(folder) / f"{run_config.name}-seed{run_config.seed}")
            workdirs.append(workdir)
            say(f"run {len(workdirs)} of {seeds * len(configs)}: {workdir}")
            with summaries.open_writer(workdir) as writer:
                train.train_and_evaluate(run_config, workdir, writer)
    return compare.finished(workdirs, folder) or compare.compare(workdirs, folder)


if __name__ == "__main__":
    command.refuse("cifsel.sweep")
