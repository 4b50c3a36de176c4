"""Everything end to end on drawn images: offline, a few minutes on a laptop.

python -m cifsel.main --config=configs/quickstart.py --workdir=/tmp/quickstart
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the configuration; it has no recipes."""
    c = common.get_config()
    c.task = "quickstart"
    c.name = "quickstart"
    c.recipe = "scratch"
    c.models = ("mobilenet", "efficientnetv2-mini")  # tuple: trained one after the other
    c.dataset = "drawn"
    c.weights = "none"
    c.alpha = 0.5
    c.image_size = 32
    c.init_head = "random"
    c.frozen_bn = False
    c.epochs = 30
    c.batch_size = 64
    c.learning_rate = 2e-3
    c.warmup_epochs = 1.0
    c.augment.shift = 2
    return c
