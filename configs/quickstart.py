"""Everything end to end on drawn images: offline, a few minutes on a laptop.

    python -m cifsel.main --config=configs/quickstart.py --workdir=/tmp/quickstart

Measured, which says that it works and nothing more: 3.2 minutes on 2 CPU cores, mobilenet 22.2 %
(20.7 to 23.9), efficientnetv2-mini 47.2 % (45.2 to 49.2) of 2,500 drawn test images; 8 of 24 drawn
faces, which is no better than luck, as the report of task 2 says.
"""

from ml_collections import ConfigDict

from configs import common, selfie

RECIPES = ("scratch",)


def get_config(recipe: str = "scratch") -> ConfigDict:
    """Returns the configuration of the only one of RECIPES."""
    if recipe not in RECIPES:
        raise common.refuse(recipe, "configs/quickstart.py", RECIPES)
    c = common.get_config()
    c.task = "quickstart"
    c.name = "quickstart"
    c.recipe = recipe
    c.models = ("mobilenet", "efficientnetv2-mini")  # tuple: trained one after the other
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
    c.selfie = selfie.get_config()  # ConfigDict: task 2, see configs/selfie.py
    c.selfie.photos = "drawn"
    c.selfie.init_from = "drawn"  # The better of c.models, once it is trained.
    c.selfie.image_size = 96
    return c
