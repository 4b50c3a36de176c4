"""Task 1 with EfficientNetV2-B0.

python -m cifsel.main --config=configs/effnet.py               # fine-tune
python -m cifsel.main --config=configs/effnet.py:probe         # linear probe
python -m cifsel.main --config=configs/effnet.py:longer        # fine-tune for about an hour
python -m cifsel.main --config=configs/effnet.py:notebook      # the reference notebook's recipe

experiments/README.md has the test accuracy and the time of each. cifsel/config/task1.py lists all
fields.
"""

from ml_collections import ConfigDict

from cifsel.config import TASK1, notebook, refuse

RECIPES = ("finetune", "probe", "longer", "notebook")


def get_config(recipe: str = "finetune") -> ConfigDict:
    """Returns the configuration of a recipe."""
    if recipe not in RECIPES:
        raise refuse(recipe, __file__, RECIPES)
    c = TASK1.defaults()
    c.name = "effnet"
    c.recipe = recipe
    c.model = "efficientnetv2-b0"
    if recipe == "finetune":
        # Chosen on validation images (experiments/results/ablation.md).
        c.train_size = 96
        c.epochs = 6
        c.learning_rate = 4e-4
        c.augment.one_random = 0.5
    elif recipe == "longer":
        # Set from short trials, and not compared with others of its length (experiments/LOG.md).
        c.image_size = 192
        c.train_size = 160
        c.epochs = 10
        c.learning_rate = 6e-4
        c.drop_path = 0.1
        c.augment.one_random = 0.7
        c.augment.erase = 0.25
        c.augment.mixup = 0.2
    elif recipe == "probe":
        c.method = "probe"
    elif recipe == "notebook":
        notebook(c)
        c.image_size = 96
        c.resize = "bilinear"
        c.hidden = 128
        c.dropout = 0.25
        c.augment.flip = True
        c.augment.rotate = 0.1
        c.augment.zoom = 0.2
        c.augment.contrast = 0.1
    return c
