"""Inputs of the page: a folder for projects, a checkpoint, and the network for training."""

import dataclasses
from pathlib import Path

from cifsel import get_config
from cifsel.errors import UserError
from cifsel.models.weights.backbone import WeightsSpec, find_file
from cifsel.prediction import published
from cifsel.prediction.predictor import TASK1
from cifsel.runtime.terminal import say, warn
from cifsel.web.answering import Answerer
from cifsel.web.looks import Looks
from cifsel.web.projects import Projects
from cifsel.web.training import Start, Trainer

# Of the weights, where no checkpoint says otherwise.
_RESOLUTION = 224
# The network that is trained on drawn images where there are no weights, and the photos' side.
_DRAWN, _DRAWN_SIDE = "efficientnetv2-mini", 64


@dataclasses.dataclass(frozen=True)
class Parts:
    """Inputs of the page.

    Attributes:
      looks: of photos.
      answerer: keeps models.
      projects: None for a page that only classifies.
      trainer: the same.
      checkpoint: a finished run or a comparison. '' without one.
    """

    looks: Looks
    answerer: Answerer
    projects: Projects | None = None
    trainer: Trainer | None = None
    checkpoint: str = ""


def parts(folder: Path | None, checkpoint: str | None) -> Parts:
    """Checks what was given, and finds the network for training.

    Args:
      folder: for projects. None for a page that only classifies.
      checkpoint: a finished run or a comparison. None without one.

    Raises:
      UserError: the folder cannot be written, or the checkpoint cannot be used.
    """
    looks, answerer = Looks(), Answerer()
    task = answerer.task_of(checkpoint) if checkpoint else ""
    if folder is None:
        return Parts(looks, answerer, checkpoint=checkpoint or "")
    projects = Projects(folder)
    if task and task != TASK1:
        raise UserError(
            f"checkpoint {checkpoint} is of task 2, from which no training starts: give a run of"
            " task 1, or leave out --workdir to classify alone"
        )
    trainer = Trainer(start_of(folder, checkpoint), looks)
    return Parts(looks, answerer, projects, trainer, checkpoint or "")


def start_of(folder: Path, checkpoint: str | None) -> Start:
    """The network that training starts from.

    Args:
      folder: for projects, and for a network that has to be made.
      checkpoint: of task 1. None for ImageNet weights.
    """
    if checkpoint:
        return Start(checkpoint, "the network that the page was started with")
    model = get_config("selfie").model
    try:
        file = find_file(WeightsSpec(model, "imagenet", 1.0, _RESOLUTION, None))
    except UserError as error:
        if network := published.path():
            say(f"training starts from {network}, as there are no ImageNet weights ({error})")
            return Start(network, "the network that cifsel comes with")
        return _drawn(folder, str(error))
    say(f"training starts from ImageNet weights: {file}")
    return Start("imagenet", "ImageNet weights")


def _drawn(folder: Path, reason: str) -> Start:
    """A network that the quickstart would train, where there are no weights and no network."""
    warn(
        f"no ImageNet weights ({reason}): training starts from a small network that is trained on"
        " drawn images first, and answers for photos will be worse"
    )
    network = folder / "drawn-network"
    return Start(
        str(network),
        "a small network of drawn images, as no ImageNet weights were found: expect worse answers",
        flags=(f"--config.image_size={_DRAWN_SIDE}",),
        before=(
            "cifsel.main",
            "--config=quickstart.py",
            "--config.task=task1",
            f"--config.model={_DRAWN}",
            f"--workdir={network}",
        ),
    )
