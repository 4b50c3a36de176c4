"""Task 2: a classifier of a person's own photos, such as 12 happy and 12 sad ones.

    python -m cifsel.main --config=configs/selfie.py --config.photos=~/selfies \
        --config.init_from=/tmp/task1 --workdir=/tmp/selfie
    python -m cifsel.predict --checkpoint=/tmp/selfie photo.jpg

photos is a folder with a sub-folder (or zip) for each class, or a list such as
happy12.zip,sad12.zip. /tmp/selfie/report.html says how good the classifier is.
experiments/README.md has measured accuracies.

cifsel/config/selfie.py lists all fields with type, range and meaning. So does --help beside
--config=configs/selfie.py.
"""

from ml_collections import ConfigDict

from cifsel.config import SELFIE, refuse

RECIPES = ("crossval",)


def get_config(recipe: str = "crossval") -> ConfigDict:
    """Returns the configuration of the only recipe. Texts that are not set are None."""
    if recipe not in RECIPES:
        raise refuse(recipe, __file__, RECIPES)
    c = SELFIE.defaults()
    c.recipe = recipe
    return c
