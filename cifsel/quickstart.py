"""Both tasks on small drawn images, without pretrained weights: offline, in minutes."""

import copy

from ml_collections import ConfigDict

from cifsel import sweep
from cifsel.comparison.results import Comparison
from cifsel.runtime import command, remote
from cifsel.runtime.terminal import say
from cifsel.selfie.run import evaluate_and_train
from cifsel.workdir import lock, summaries


def run(config: ConfigDict, folder: str) -> Comparison:
    """Trains and compares config.models, then trains the better one to classify drawn faces.

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
    comparison = sweep.run([_task1_config(config, model) for model in config.models], folder)
    faces = config.selfie.copy_and_resolve_references()
    say("task 2: happy and sad faces, drawn by this program")
    below = str(remote.place(folder) / "selfie")
    with summaries.open_writer(below) as writer:
        evaluate_and_train(faces, below, writer, init_from=folder)
    say("For real images: python -m cifsel.main --config=configs/effnet.py")
    return comparison


def _task1_config(config: ConfigDict, model: str) -> ConfigDict:
    task1_config = copy.deepcopy(config)
    task1_config.task, task1_config.model, task1_config.name = "task1", model, model
    return task1_config


if __name__ == "__main__":
    command.refuse("cifsel.quickstart")
