"""The fields of task 2: score and train a classifier of a person's own photos.

Written and used as in `task1.py`. `configs/selfie.py` returns the defaults.
"""

from cifsel.config.data import MOST_SEED
from cifsel.config.schema import Bool, Choice, Float, Int, Numbers, Place, Schema, Text
from cifsel.config.task1 import MODELS

_RUN = (
    Choice("task", "selfie", "this task", choices=("selfie",)),
    Text("name", "selfie", "names the default workdir, runs/<name>-<recipe>"),
    Text("recipe", "crossval", "the part of --config after the colon"),
    Int("seed", 0, "seed of the folds, the learning curve and the permutations", 0, MOST_SEED),
)

_PHOTOS = (
    Place(
        "photos",
        None,
        "folder, zip, or several with commas between them. 'drawn': drawn faces",
        several=True,
    ),
    Bool("skip_unreadable", False, "leave out files that are no photos, instead of stopping"),
    Float(
        "burst_seconds",
        60.0,
        "photos taken so close in time are held out together. 0: leave times out",
        0,
        1e9,
    ),
    Choice(
        "hold_out",
        "photos",
        "'photos': what is asked is other photos, 'days': other days. A day stays together",
        choices=("photos", "days"),
    ),
    Place("people_csv", None, "file of 'photo,person' lines. A person's photos stay together"),
    Text(
        "people_pattern", None, "regular expression that finds the person in a path: '/([a-z]+)_'"
    ),
    Choice(
        "crop",
        "none",
        "'none': the middle, 'face': the largest face, 'expression': its mouth, aligned",
        choices=("none", "face", "expression"),
    ),
    Bool("compare_crops", True, "score other crops beside it, where what finds faces is installed"),
    Float("crop_margin", 0.9, "side of the crop as a multiple of the head's box", 0.5, 4.0),
    Float(
        "crop_middle",
        0.875,
        "side of the middle square as a part of the photo's shorter side. ImageNet's images are"
        " usually scored so",
        0.25,
        1.0,
    ),
    Bool("crop_fallback", False, "show the middle where no face is found, instead of stopping"),
)

_SOURCE = (
    Place("init_from", None, "folder of a task-1 run or comparison, a model file, or 'imagenet'"),
    Choice("model", "efficientnetv2-b0", "the backbone, for init_from=imagenet", choices=MODELS),
    Place("weights_dir", None, "folder of .h5 files. None: CIFSEL_WEIGHTS", changes_result=False),
    Int(
        "image_size",
        224,
        "pixels per side at which photos are shown to the model",
        32,
        1024,
        zero="the checkpoint's",
    ),
)

_PROTOCOL = (
    Choice(
        "layers",
        "average",
        "'average' the logits of all layers, or 'choose' layer, grid and penalty in each fold",
        choices=("average", "choose"),
    ),
    Numbers(
        "depths",
        (0.3, 0.4, 0.5, 0.6, 0.7),
        "layers to take features from. 1: the last",
        0.0,
        1.0,
    ),
    Int("grid", 7, "cells per side over which a layer's output is averaged, for 'average'", 1, 32),
    Float("penalty", 1e-2, "for features of mean square norm 1, for 'average'", 1e-6, 1e3),
    Numbers("grids", (1, 3, 7), "cells per side to choose from, for 'choose'", 1, 32),
    Numbers(
        "l2",
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        "penalties to choose from, for 'choose'",
        1e-6,
        1e3,
    ),
    Int("folds", 5, "folds of the cross-validation, and of the one inside each fold", 3, 20),
    Int("repeats", 10, "repetitions of the cross-validation", 1, 1_000),
    Int("permutations", 100, "trials with shuffled labels", 2, 100_000, zero="none"),
    Int("leave_one_out", 100, "most photos for which each is also held out by itself", 0, 5_000),
)

_OUTPUT = (
    Bool(
        "save_photos",
        False,
        "allow pictures of the photos in the workdir. A finished run makes its report anew",
        changes_result=False,
        changes_report=True,
    ),
)

SELFIE = Schema(
    {
        "What to run": _RUN,
        "Photos": _PHOTOS,
        "Where the model comes from": _SOURCE,
        "Protocol: what the folds choose from, and how often": _PROTOCOL,
        "Output": _OUTPUT,
    }
)
