"""The objective of fine-tuning: the loss, and the inputs that it is computed on."""

import dataclasses

from cifsel.data import augment


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss that training minimises, and the inputs that it sees.

    Attributes:
      image_size: side in pixels to which training images are resized.
      resize: method of `transforms.resize`.
      policy: augmentation.
      on_features: the inputs are feature maps (B, h, w, D) of a frozen backbone, not images.
      frozen_backbone: the backbone runs in inference mode and does not train.
      frozen_bn: batch norm keeps its running statistics in a backbone that trains otherwise.
      label_smoothing: share of each target that is spread over all classes.
      activity_l1: penalty on the mean over images of the head's summed hidden activations.
      ema_decay: decay per step of the averaged weights. 0 means no averaging.
      class_weights: by which the loss of an image counts, by its class. None for all the same.
      accum_steps: number of parts in which a batch passes through the model, to save memory.
    """

    image_size: int
    resize: str
    policy: augment.Policy
    on_features: bool = False
    frozen_backbone: bool = False
    frozen_bn: bool = True
    label_smoothing: float = 0.0
    activity_l1: float = 0.0
    ema_decay: float = 0.0
    class_weights: tuple[float, ...] | None = None
    accum_steps: int = 1
