"""Trains each model with several seeds, compares them, and writes the report: all of task 1.

Task 1 is the question which network transfers better to the animals and people of CIFAR-100. The
quickstart is such a sweep on drawn images, with task 2 after it.
"""

import copy
from collections.abc import Sequence

from ml_collections import ConfigDict

from cifsel import task1
from cifsel.comparison import comparing
from cifsel.comparison.results import Comparison
from cifsel.prediction import published
from cifsel.runtime import command, remote
from cifsel.runtime.terminal import say
from cifsel.workdir import lock, summaries


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
    comparing.output_folder(folder)  # Else hours would pass before it is refused.
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
                task1.train_and_evaluate(run_config, workdir, writer)
    return comparing.finished(workdirs, folder) or comparing.compare(workdirs, folder)


def quickstart(config: ConfigDict, folder: str) -> Comparison:
    """Does both tasks on small drawn images, without pretrained weights: offline, in minutes.

    It trains and compares config.models. Then it trains a classifier of drawn faces, from the
    network that cifsel comes with, or else from the better one.

    Args:
      config: as configs/quickstart.py describes it.
      folder: gets a workdir per run, the comparison, and task 2 in selfie/.

    Returns:
      The content of comparison.json.

    Raises:
      UserError: another run is at work in the folder.
    """
    with lock.alone(remote.place(folder)):
        return _run_both_tasks(config, folder)


def _run_both_tasks(config: ConfigDict, folder: str) -> Comparison:
    say("quickstart: synthetic images, drawn by this program; nothing here says anything of photos")
    # scikit-learn takes a second to import, and task 1 needs none.
    from cifsel.selfie.run import evaluate_and_train

    comparison = run([_task1_config(config, model) for model in config.models], folder)
    faces, start = config.selfie.copy_and_resolve_references(), folder
    say("task 2: happy and sad faces, drawn by this program")
    if network := published.path():
        # It has learned from photos, while the better one has seen drawn shapes alone.
        say(f"it starts from the network that cifsel comes with: {network}")
        faces.image_size, start = 0, network
    below = str(remote.place(folder) / "selfie")
    with summaries.open_writer(below) as writer:
        evaluate_and_train(faces, below, writer, init_from=start)
    say("For real images: python -m cifsel.main --config=configs/effnet.py")
    return comparison


def _task1_config(config: ConfigDict, model: str) -> ConfigDict:
    task1_config = copy.deepcopy(config)
    task1_config.task, task1_config.model, task1_config.name = "task1", model, model
    return task1_config


if __name__ == "__main__":
    command.refuse("cifsel.sweep")
