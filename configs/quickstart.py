"""Everything end to end on drawn images: offline, a few minutes on a laptop.

    python -m cifsel.main --config=configs/quickstart.py --workdir=/tmp/quickstart

It trains the models of `models` and compares them. Then it runs task 2, with the network that
cifsel comes with, or else with the better one. Drawn images show that everything works. They show
nothing about photos.

cifsel/config/quickstart.py adds its fields to those of task 1 and task 2.
"""

from ml_collections import ConfigDict

from cifsel.config import QUICKSTART, refuse

RECIPES = ("scratch",)


def get_config(recipe: str = "scratch") -> ConfigDict:
    """Returns the configuration of the only recipe."""
    if recipe not in RECIPES:
        raise refuse(recipe, __file__, RECIPES)
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
    c.epochs = 8
    c.val_per_class = 20
    c.batch_size = 64
    c.learning_rate = 4e-3
    c.warmup_epochs = 1.0
    c.augment.shift = 2
    # Task 2, see configs/selfie.py.
    c.selfie.photos = "drawn"
    # Becomes the network that cifsel comes with, or the better of c.models, once it is trained.
    c.selfie.init_from = "drawn"
    c.selfie.image_size = 64
    # Fewer repetitions than for photos, as drawn faces are only there to show how it goes.
    c.selfie.repeats = 2
    c.selfie.permutations = 39
    c.selfie.compare_crops = False
    return c
