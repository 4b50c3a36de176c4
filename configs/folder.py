"""Your own images: a folder, zip or list, with one of the two models.

python -m cifsel.main --config=configs/folder.py --config.data=FOLDER            # by their number
python -m cifsel.main --config=configs/folder.py:probe --config.data=FOLDER      # linear probe
python -m cifsel.main --config=configs/folder.py:finetune --config.data=FOLDER

Without a recipe, fewer than 1,000 training images give a linear probe, and more are fine-tuned.
docs/own-data.md describes what is read. cifsel/config/task1.py lists all fields.
"""

from ml_collections import ConfigDict

from cifsel.config import TASK1, refuse

RECIPES = ("auto", "probe", "finetune")


def get_config(recipe: str = "auto") -> ConfigDict:
    """Returns the configuration of a recipe."""
    if recipe not in RECIPES:
        raise refuse(recipe, __file__, RECIPES)
    c = TASK1.defaults()
    c.name = "folder"
    c.recipe = recipe
    c.method = recipe
    c.dataset = "folder"
    c.image_size = 224
    # Chosen on validation images (experiments/LOG.md). On a few hundred images, Adam's steps undo
    # the probe that training starts from. Averaged weights of small steps do not.
    c.epochs = 10
    c.batch_size = 32
    c.optimizer = "sgd"
    c.learning_rate = 1e-3
    c.warmup_epochs = 1.0
    c.label_smoothing = 0.0
    c.ema_decay = 0.95
    c.augment.shift = 0
    c.augment.crop = 0.35
    return c
