"""Both tasks, small and from scratch, on drawn images: everything works, offline, in minutes."""

import copy
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from cifsel import sweep
from cifsel.runtime import remote
from cifsel.selfie import run as selfie_run
from cifsel.terminal import say
from cifsel.workdir import lock, summaries


def run(config: ConfigDict, folder: str) -> dict[str, Any]:
    """Trains config.models, compares them, and gives the better one drawn faces to tell apart.

    Args:
      config: as configs/quickstart.py describes it.
      folder: gets a workdir per run, the comparison, and task 2 in selfie/.

    Returns:
      What comparison.json holds.

    Raises:
      UserError: another run is at work in the folder.
    """
    with lock.alone(remote.place(folder)):
        return _both_tasks(config, folder)


def _both_tasks(config: ConfigDict, folder: str) -> dict[str, Any]:
    say("quickstart: synthetic images, drawn by this program; nothing here says anything of photos")
    configs = []
    for model in config.models:
        one = copy.deepcopy(config)
        one.task, one.model, one.name = "task1", model, model
        configs.append(one)
    result = sweep.run(configs, folder)
    faces = config.selfie.copy_and_resolve_references()
    faces.init_from = folder
    say("task 2: happy and sad faces, drawn by this program")
    below = str(epath.Path(folder) / "selfie")
    with summaries.open_writer(below) as writer:
        selfie_run.run(faces, below, writer)
    say("For real images: python -m cifsel.main --config=configs/effnet.py")
    return result
