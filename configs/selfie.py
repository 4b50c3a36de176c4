"""Task 2: a classifier of a person's own photos, such as 12 happy and 12 sad ones.

    python -m cifsel.main --config=configs/selfie.py --config.photos=~/selfies \
        --config.init_from=/tmp/task1 --workdir=/tmp/selfie
    python -m cifsel.predict --checkpoint=/tmp/selfie photo.jpg

photos is a folder with a sub-folder (or zip) for each class, or a list such as
happy12.zip,sad12.zip. What it is worth on so few photos is in /tmp/selfie/report.html. Measured on
24 faces of 24 people, each held out (experiments/README.md): 19 to 21 of 24 right, 95 % interval 60
to 96 %, in 1 to 2 minutes on two CPU cores.
"""

from ml_collections import ConfigDict, config_dict

from configs import common

RECIPES = ("crossval",)


def get_config(recipe: str = "crossval") -> ConfigDict:
    """Returns the configuration of the only one of RECIPES. 'Not set' is None until given."""
    if recipe not in RECIPES:
        raise common.refuse(recipe, "configs/selfie.py", RECIPES)
    c = ConfigDict()
    c.task = "selfie"  # str: this task
    c.name = "selfie"  # str: names the default workdir, runs/<name>-<recipe>
    c.recipe = recipe
    c.seed = 0  # int: of the folds, the learning curve and the permutations

    # Photos.
    c.photos = config_dict.placeholder(str)  # str: folder, zip, several by commas; or 'drawn'
    c.skip_unreadable = False  # bool: leave out what is no photo rather than stop
    c.burst_seconds = 60.0  # float: photos taken so close in time are held out together
    c.people_csv = config_dict.placeholder(str)  # str: file of 'photo,person'; same person together
    c.people_pattern = config_dict.placeholder(str)  # str: the same by name: '/([a-z]+)_'
    c.crop = "none"  # str: 'none' shows the middle square, 'face' the largest face found
    c.crop_margin = 0.9  # float: side of the crop as a multiple of the box around the head
    c.crop_fallback = False  # bool: where no face is found, the middle square rather than an error

    # Where the model comes from.
    c.init_from = config_dict.placeholder(str)  # str: folder of task 1 or of a run; or 'imagenet'
    c.model = "efficientnetv2-b0"  # str: which network, for init_from=imagenet
    c.weights_dir = config_dict.placeholder(
        str
    )  # str: folder of .h5 files; not set: CIFSEL_WEIGHTS
    c.image_size = 224  # int: pixels at which photos are shown; 0 for that of the checkpoint

    # The protocol: what the folds choose from, and how often.
    c.depths = (0.4, 0.6, 0.8, 1.0)  # tuple: layers to take features from, 1 for the last
    c.grids = (1, 3, 7)  # tuple: cells along each side over which a layer's output is averaged
    c.l2 = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # tuple: penalties, for features of mean square norm 1
    c.folds = 5  # int: of the cross-validation, and of the one within each fold
    c.repeats = 10  # int: how many times the cross-validation is repeated
    c.permutations = 100  # int: trials with labels dealt out anew; 0 for none
    c.leave_one_out = 100  # int: most photos for which each is held out by itself as well
    c.tuned_layers = 2  # int: last layers to fine-tune for comparison; 0 for no fine-tuning

    c.save_photos = False  # bool: allow pictures of the photos in the workdir
    return c
