"""The fields of task 1: train and score one model on images of many classes.

A field is written as name, default and help. Numbers also have their least and most value. A field
is stated here only: `configs/common.py` returns the defaults, `validation.py` checks types and
ranges, and --help beside a config prints the list.
"""

from cifsel.config.data import DATA, MOST_SEED, OWN_DATA
from cifsel.config.schema import Bool, Choice, Float, Int, Numbers, Place, Schema, Text

# As in `cifsel.models.classifier`, which imports JAX. A test compares the two.
MODELS = (
    "mobilenet",
    "efficientnetv2-b0",
    "efficientnetv2-b1",
    "efficientnetv2-b2",
    "efficientnetv2-b3",
    "efficientnetv2-s",
    "efficientnetv2-m",
    "efficientnetv2-l",
    "efficientnetv2-mini",
)

_RUN = (
    Choice(
        "task",
        "task1",
        "'task1' trains one model, 'selfie' is a config of its own (configs/selfie.py),"
        " 'quickstart' runs both tasks on drawn images (configs/quickstart.py)",
        choices=("task1", "selfie", "quickstart"),
    ),
    Text("name", "common", "names the default workdir, runs/<name>-<recipe>"),
    Text("recipe", "finetune", "the part of --config after the colon"),
    Choice(
        "method",
        "finetune",
        "'probe' fits logistic regression on features, 'finetune' descends gradients, 'auto' is a"
        " probe below 1,000 training images",
        choices=("probe", "finetune", "auto"),
    ),
    Int("seed", 0, "seed of initial values, shuffling, augmentation and dropout", 0, MOST_SEED),
)


_MODEL = (
    Choice("model", "efficientnetv2-b0", "the backbone", choices=MODELS),
    Float("alpha", 1.0, "width multiplier of MobileNet", 0.05, 4.0),
    Int("image_size", 128, "pixels per side after resizing, which happens on the device", 32, 1024),
    Int(
        "train_size",
        0,
        "pixels per side in gradient steps, which are faster with smaller images",
        32,
        1024,
        zero="image_size",
    ),
    Choice(
        "resize",
        "bicubic",
        "method of resizing, antialiased",
        choices=("nearest", "bilinear", "bicubic"),
    ),
    Place("weights", "imagenet", "'imagenet', 'none' (from scratch), or the path of a Keras file"),
    Place("weights_dir", None, "folder of .h5 files. None: CIFSEL_WEIGHTS", changes_result=False),
    Choice(
        "weights_resolution",
        224,
        "input size of the published weights. MobileNet has weights for each",
        choices=(128, 160, 192, 224),
    ),
    Choice(
        "pool",
        "average",
        "'average' over positions, or 'flatten' to keep all of them",
        choices=("average", "flatten"),
    ),
    Int("hidden", 0, "width of a ReLU layer in the head. 0: none", 0, 65_536),
    Float("dropout", 0.0, "dropout rate in front of the logits", 0, 1, exclude=1),
    Float(
        "drop_path", 0.0, "stochastic depth of the last block of EfficientNetV2", 0, 1, exclude=1
    ),
    Choice(
        "dtype",
        "auto",
        "type of the activations. 'auto': bfloat16 on TPU and GPU, float32 on CPU",
        choices=("auto", "float32", "bfloat16"),
    ),
)

_PROBE = (
    Bool("mirror", True, "average over each image and its mirror image, except in gradient steps"),
    Numbers(
        "probe_l2",
        (1e-3, 1e-2, 1e-1),
        "penalties to try first. More are tried while the best is at an end",
        1e-12,
        1e6,
    ),
    Int("probe_steps", 500, "most L-BFGS iterations per penalty", 1, 100_000),
    Float("probe_tolerance", 1e-4, "gradient norm at which a solution is accepted", 1e-12, 1.0),
)

_DESCENT = (
    Choice(
        "init_head",
        "probe",
        "the head starts from the probe's solution or from random values",
        choices=("probe", "random"),
    ),
    Int(
        "trainable_layers",
        -1,
        "number of last layers of the backbone to train. 0: none. -1: all",
        -1,
        1_000,
    ),
    Bool("frozen_bn", True, "keep the batch statistics that came with the weights"),
    Int("epochs", 10, "passes over the training images", 1, 10_000),
    Int("batch_size", 128, "images per step", 1, 65_536),
    Int(
        "accum_steps",
        1,
        "parts into which a batch is split, one after the other, to save memory",
        1,
        65_536,
    ),
    Choice("optimizer", "adamw", "'sgd' has Nesterov momentum 0.9", choices=("adamw", "sgd")),
    Float("learning_rate", 2e-4, "peak learning rate of the head", 1e-9, 1e3),
    Choice(
        "schedule",
        "cosine",
        "after warm-up, cosine decay to zero or a constant rate",
        choices=("cosine", "constant"),
    ),
    Float("warmup_epochs", 0.5, "epochs of linear warm-up", 0, 1e4),
    Float(
        "backbone_rate", 1.0, "learning rate of the backbone as a multiple of the head's", 1e-9, 1e3
    ),
    Float(
        "layer_decay", 1.0, "learning rate of a layer as a multiple of the next layer's", 1e-3, 1
    ),
    Float("weight_decay", 0.05, "decoupled decay, of kernels only", 0, 10),
    Float("clip_norm", 1.0, "largest global norm of a gradient. 0: no limit", 0, 1e6),
    Float("label_smoothing", 0.1, "share of the target spread over all classes", 0, 1, exclude=1),
    Float("activity_l1", 0.0, "L1 penalty on the head's hidden activations", 0, 1),
    Float("ema_decay", 0.0, "decay per step of averaged weights. 0: no averaging", 0, 1, exclude=1),
    Int(
        "patience",
        0,
        "epochs without a better validation accuracy before stopping. 0: never stop early",
        0,
        10_000,
    ),
)

# The fields of `cifsel.data.augment.Policy`.
_AUGMENT = (
    Bool("augment.flip", True, "mirror half of the images"),
    Int("augment.shift", 4, "largest shift in pixels of the 32-px image, edges reflected", 0, 31),
    Float(
        "augment.crop",
        0.0,
        "smallest share of the area that a random crop shows. 0: the whole image",
        0,
        1,
    ),
    Float("augment.rotate", 0.0, "largest rotation in turns", 0, 1),
    Float("augment.zoom", 0.0, "largest relative change of size", 0, 0.99),
    Float("augment.contrast", 0.0, "largest relative change of contrast", 0, 1),
    Float("augment.erase", 0.0, "probability of erasing a rectangle", 0, 1),
    Float("augment.one_random", 0.0, "strength of one change of geometry or colour. 0: none", 0, 1),
    Float("augment.mixup", 0.0, "alpha of mixup's Beta distribution. 0: none", 0, 100),
    Float("augment.cutmix", 0.0, "alpha of cutmix's Beta distribution. 0: none", 0, 100),
)

_PROCESSES = (
    Text(
        "distributed",
        "off",
        "'off', 'auto' (Cloud TPU, GKE, Slurm), or host:port of process 0",
        changes_result=False,
    ),
    Int("processes", 1, "number of processes, for host:port", 1, 65_536, changes_result=False),
    Int(
        "process", 0, "index of this process from 0, for host:port", 0, 65_535, changes_result=False
    ),
)

_RUNNING = (
    Int("eval_batch_size", 64, "images per forward pass outside gradient steps", 1, 65_536),
    Int(
        "steps_per_call",
        0,
        "steps per jitted scan. 0: an epoch on TPU and GPU, 1 step on CPU",
        0,
        1_000_000,
    ),
    Int(
        "profile_steps",
        0,
        "gradient steps to trace for XProf. 0: none",
        0,
        1_000_000,
        changes_result=False,
    ),
    Float(
        "checkpoint_minutes",
        5.0,
        "most minutes of work that a crash within an epoch can cost",
        0,
        1e4,
        changes_result=False,
    ),
)

TASK1 = Schema(
    {
        "What to run": _RUN,
        "Data": DATA,
        "Your own images, and sets of tfds": OWN_DATA,
        "Model": _MODEL,
        "Linear probe: multinomial logistic regression on cached features": _PROBE,
        "Gradient descent": _DESCENT,
        "Augmentation of training images, on the device": _AUGMENT,
        "Several processes: the same command on each machine": _PROCESSES,
        "Running": _RUNNING,
    }
)
