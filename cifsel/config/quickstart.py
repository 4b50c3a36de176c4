"""The fields of the quickstart: those of task 1, the models to train, and task 2 as `selfie`.

Written and used as in `task1.py`. `configs/quickstart.py` sets what differs from the defaults.
"""

from cifsel.config.schema import Choices, Schema, nested
from cifsel.config.selfie import SELFIE
from cifsel.config.task1 import MODELS, TASK1

_MODELS = (
    Choices(
        "models",
        ("mobilenet", "efficientnetv2-mini"),
        "models to train, one after the other",
        choices=MODELS,
    ),
)

QUICKSTART = Schema(
    {**TASK1.sections, "Quickstart": _MODELS, "Quickstart: task 2": nested(SELFIE, "selfie")}
)
