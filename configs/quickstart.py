"""Everything end to end on drawn images: offline, a few minutes on a laptop.

    python -m cifsel.main --config=configs/quickstart.py --workdir=/tmp/quickstart

The report says how well it went. Drawn images say that everything works, and nothing about photos.
"""

from ml_collections import ConfigDict

from cifsel.config import QUICKSTART
from configs import common

RECIPES = ("scratch",)


def get_config(recipe: str = "scratch") -> ConfigDict:
    """Returns the configuration of the only one of RECIPES."""
    if recipe not in RECIPES:
        raise common.refuse(recipe, "configs/quickstart.py", RECIPES)
    c = QUICKSTART.defaults()
    c.task = "quickstart"
    c.name = "quickstart"
    c.recipe = recipe
    c.dataset = "drawn"
    c.weights = "none"
    c.alpha = 0.5
    c.image_size = 32
    c.init_head = "random"
    c.frozen_bn = False
    c.epochs = 20
    c.batch_size = 64
    c.learning_rate = 2e-3
    c.warmup_epochs = 1.0
    c.augment.shift = 2
    # Task 2, see configs/selfie.py.
    c.selfie.photos = "drawn"
    c.selfie.init_from = "drawn"  # Becomes the better of c.models, once it is trained.
    c.selfie.image_size = 96
    return c
