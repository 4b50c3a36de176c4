"""Every field of a run, with its default. The other files of this folder change some of them.

Any field can be set on the command line: --config.batch_size=256 --config.augment.flip=False.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """Returns the defaults. Fields that say 'not set' are None until given."""
    c = ConfigDict()

    # What to run.
    c.task = "task1"  # str: 'task1' trains one model, 'quickstart' two small ones on drawn images
    c.name = "common"  # str: names the default workdir, runs/<name>-<recipe>
    c.recipe = "finetune"  # str: what the part of --config after the colon said
    c.method = "finetune"  # str: 'probe' solves logistic regression, 'finetune' descends gradients
    c.seed = 0  # int: of initial values, shuffling, augmentation and dropout

    # Data.
    c.dataset = "cifar100"  # str: 'cifar100' (animals and people) or 'drawn' (offline, synthetic)
    c.data_dir = config_dict.placeholder(str)  # str: of tfds; not set: TFDS_DATA_DIR or its default
    c.try_gcs = False  # bool: download from tfds's public bucket, as is always tried on a TPU
    c.split_seed = 0  # int: of the train/validation split and of any subset; not of the training
    c.val_per_class = 50  # int: validation images per class, taken from the training images
    c.train_fraction = 1.0  # float in (0, 1]: share of the training images to use, stratified
    c.train_examples = 0  # int: number of training images to use, stratified; 0 for all
    c.test_examples = 0  # int: number of test images to use, stratified; 0 for all

    # Model.
    c.model = "efficientnetv2-b0"  # str: 'mobilenet' or 'efficientnetv2-' with b0 to b3, s, m, l
    c.alpha = 1.0  # float: MobileNet's width multiplier
    c.image_size = 128  # int: pixels, to which the 32-px images are resized on the device
    c.train_size = 0  # int: the same for gradient steps; 0: image_size. Less is quicker, see README
    c.resize = "bicubic"  # str: 'nearest', 'bilinear' or 'bicubic', antialiased
    c.weights = (
        "imagenet"  # str: 'imagenet', 'none' (from scratch), or the path of a Keras .h5 file
    )
    c.weights_dir = config_dict.placeholder(
        str
    )  # str: folder of .h5 files; not set: CIFSEL_WEIGHTS
    c.weights_resolution = 224  # int: 128, 160, 192 or 224; MobileNet has weights for each
    c.pool = "average"  # str: what the head does with positions: 'average' or 'flatten'
    c.hidden = 0  # int: width of a ReLU layer in the head, 0 for none
    c.dropout = 0.0  # float in [0, 1): in front of the logits
    c.drop_path = 0.0  # float in [0, 1): stochastic depth of EfficientNetV2's last block
    c.dtype = "auto"  # str: activations in 'float32' or 'bfloat16'; 'auto': bfloat16 on TPU and GPU

    # Probe: multinomial logistic regression on cached features.
    c.mirror = True  # bool: average over each image and its mirror image, when not training
    c.probe_l2 = (
        1e-3,
        1e-2,
        1e-1,
    )  # tuple: penalties to try first; extended while the best is last
    c.probe_steps = 500  # int: most L-BFGS iterations per penalty
    c.probe_tolerance = 1e-4  # float: gradient norm at which a penalty's solution is accepted

    # Gradient descent.
    c.init_head = "probe"  # str: 'probe' starts from its solution, 'random' from initial values
    c.trainable_layers = -1  # int: last layers of the backbone to train; 0 for none, -1 for all
    c.frozen_bn = True  # bool: keep to the batch statistics that came with the weights
    c.epochs = 10  # int: passes over the training images
    c.batch_size = 128  # int: images per step
    c.accum_steps = 1  # int: parts in which a batch passes, one by one, where memory is short
    c.optimizer = "adamw"  # str: 'adamw' or 'sgd' (with momentum .9, Nesterov)
    c.learning_rate = 2e-4  # float: peak, of the head
    c.schedule = "cosine"  # str: after warm-up, 'cosine' to zero or 'constant'
    c.warmup_epochs = 0.5  # float: epochs of linear warm-up
    c.backbone_rate = 1.0  # float: the backbone's learning rate as a multiple of the head's
    c.layer_decay = 1.0  # float in (0, 1]: rate of a layer as a multiple of the next one's
    c.weight_decay = 0.05  # float: decoupled, of kernels only
    c.clip_norm = 1.0  # float: largest global norm of a gradient, 0 for no limit
    c.label_smoothing = 0.1  # float in [0, 1): share of the target spread over all classes
    c.activity_l1 = 0.0  # float: penalty on the head's hidden activations
    c.ema_decay = 0.0  # float in [0, 1): averaging of weights per step, 0 for none
    c.patience = 0  # int: epochs without a better validation accuracy before stopping, 0 for never

    # Augmentation of training images, on the device.
    c.augment = ConfigDict()
    c.augment.flip = True  # bool: mirror half of the images
    c.augment.shift = 4  # int: largest shift in source pixels, edges reflected
    c.augment.rotate = 0.0  # float: largest rotation, in turns
    c.augment.zoom = 0.0  # float: largest relative change of size
    c.augment.contrast = 0.0  # float: largest relative change of contrast
    c.augment.erase = 0.0  # float in [0, 1]: probability of erasing a rectangle
    c.augment.one_random = 0.0  # float in [0, 1]: strength of one change of geometry or colour
    c.augment.mixup = 0.0  # float: alpha of mixup's Beta distribution, 0 for none
    c.augment.cutmix = 0.0  # float: alpha of cutmix's Beta distribution, 0 for none

    # Many machines: the same command on each. In one process, all of its devices are used.
    c.distributed = "off"  # str: 'off', 'auto' (Cloud TPU, GKE, Slurm), or host:port of process 0
    c.processes = 1  # int: for host:port: how many processes there are
    c.process = 0  # int: for host:port: which of them this one is, from 0

    # Running.
    c.eval_batch_size = 64  # int: images per forward pass outside training
    c.steps_per_call = 0  # int: steps per jitted scan; 0: whole epochs on TPU and GPU, 1 on CPU
    c.profile_steps = 0  # int: gradient steps to trace for XProf; 0 for none
    c.checkpoint_minutes = 5.0  # float: at most so much work is lost to a crash within an epoch
    return c


def refuse(recipe: str, file: str, recipes: tuple[str, ...]) -> ValueError:
    """The error for a recipe, the part of --config after the colon, that `file` does not have."""
    return ValueError(f"{file} has no recipe {recipe!r}; expected one of {', '.join(recipes)}")


def notebook(c: ConfigDict) -> None:
    """Sets what both recipes of the reference notebook share.

    10,000 of the training images, 8,000 to train and 2,000 to validate; 2,000 test images; a frozen
    backbone; Adam at a constant rate; early stopping that goes back to the best epoch.
    """
    c.val_per_class = 40
    c.train_examples = 8000
    c.test_examples = 2000
    c.mirror = False
    c.init_head = "random"
    c.trainable_layers = 0
    c.epochs = 20
    c.batch_size = 256
    c.learning_rate = 1e-3
    c.schedule = "constant"
    c.warmup_epochs = 0.0
    c.weight_decay = 0.0
    c.clip_norm = 0.0
    c.label_smoothing = 0.0
    c.patience = 5
    c.augment.flip = False
    c.augment.shift = 0
