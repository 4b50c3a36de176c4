"""Recipes: the part of --config after the colon, and the fields that several config files share."""

from ml_collections import ConfigDict

from cifsel.config.similar import did_you_mean


def refuse(recipe: str, file: str, recipes: tuple[str, ...]) -> ValueError:
    """The error for a recipe that `file` does not have: the part of --config after the colon."""
    problem = f"{file} has no recipe {recipe!r}{did_you_mean(recipe, recipes)}"
    return ValueError(f"{problem}; expected one of {', '.join(recipes)}")


def notebook(c: ConfigDict) -> None:
    """Sets the fields that both recipes of the reference notebook share.

    The recipe trains on 8,000 of the training images and validates on 2,000 others, with 2,000 test
    images. The backbone is frozen. Adam runs at a constant rate. Early stopping goes back to the
    best epoch.
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
