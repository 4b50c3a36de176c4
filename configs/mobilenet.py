"""Task 1 with MobileNet V1.

python -m cifsel.main --config=configs/mobilenet.py            # fine-tune
python -m cifsel.main --config=configs/mobilenet.py:probe      # linear probe
python -m cifsel.main --config=configs/mobilenet.py:longer     # fine-tune for about an hour
python -m cifsel.main --config=configs/mobilenet.py:notebook   # the reference notebook's recipe

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
    c.name = "mobilenet"
    c.recipe = recipe
    c.model = "mobilenet"
    if recipe == "finetune":
        # Chosen on validation images (experiments/results/ablation.md).
        c.epochs = 6
        c.frozen_bn = False
    elif recipe == "longer":
        # Set from short trials. It has not been run as a whole yet (experiments/LOG.md).
        c.image_size = 160
        c.epochs = 12
        c.frozen_bn = False
        c.augment.one_random = 0.5
        c.augment.erase = 0.25
    elif recipe == "probe":
        c.method = "probe"
    elif recipe == "notebook":
        notebook(c)
        c.image_size = 128
        c.resize = "nearest"
        c.pool = "flatten"
        c.hidden = 1024
        c.activity_l1 = 1e-7
        c.dropout = 0.5
    return c
