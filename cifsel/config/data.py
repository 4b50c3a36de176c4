"""The fields of task 1 about its images: which set, which part of it, and how it is read."""

from cifsel.config.schema import Bool, Choice, Float, Int, Place, Text

MOST_SEED = 2**31 - 1

DATA = (
    Text(
        "dataset",
        "cifar100",
        "'cifar100' has the animals and people of CIFAR-100, 'cifar100:all' all its classes,"
        " 'folder' your own images (config.data), 'tfds:NAME[/CONFIG][:VERSION]' a prepared set of"
        " tfds, 'drawn' synthetic images that need no download",
    ),
    Place(
        "data",
        None,
        "your own images, for dataset=folder: a folder or zip with a sub-folder for each class, or"
        " a .csv or .jsonl list",
    ),
    Place(
        "data_dir",
        None,
        "folder of tfds data. None: TFDS_DATA_DIR, or the default of tfds",
        changes_result=False,
    ),
    Bool(
        "try_gcs",
        False,
        "download from the public bucket of tfds, as is always tried on a TPU",
        changes_result=False,
    ),
    Int(
        "split_seed",
        0,
        "seed of the train/validation split and of subsets, not of the training",
        0,
        MOST_SEED,
    ),
    Int(
        "val_per_class",
        50,
        "validation images per class. Those of CIFAR-100 are taken from the training images",
        1,
        499,
    ),
    Float(
        "train_fraction", 1.0, "share of the training images to use, stratified", 0, 1, exclude=0
    ),
    Int("train_examples", 0, "number of training images to use, stratified. 0: all", 0, 10**8),
    Int("test_examples", 0, "number of test images to use, stratified. 0: all", 0, 10**8),
)

OWN_DATA = (
    Float(
        "val_share",
        0.2,
        "share of the images to validate on, if there is no such part",
        0,
        0.9,
        exclude=0,
    ),
    Float(
        "test_share",
        0.2,
        "share of the images to test on, if there is no such part",
        0,
        0.9,
        exclude=0,
    ),
    Place("split", None, "CSV file with the split of another run on the same images"),
    Choice(
        "fit",
        "crop",
        "images become squares: 'crop' keeps the middle, 'pad' adds grey",
        choices=("crop", "pad"),
    ),
    Int("stored_size", 0, "pixels per side of the stored images", 32, 1024, zero="8/7 image_size"),
    Bool("skip_unreadable", False, "leave out files that are no images, instead of stopping"),
    Float(
        "burst_seconds",
        10.0,
        "photos taken so close in time are in the same part. -1: ignore times",
        -1,
        1e9,
    ),
    Choice(
        "class_weights",
        "none",
        "'balanced' weights the training loss so that all classes count the same",
        choices=("none", "balanced"),
    ),
)
