"""The classifier: preprocessing, backbone and head as one module, from images to logits."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Float32, Num, PRNGKeyArray

from cifsel.models.efficientnet_v2 import VARIANTS, EfficientNetV2
from cifsel.models.mobilenet import MobileNet

MODELS = ("mobilenet", *(f"efficientnetv2-{variant}" for variant in VARIANTS))
Backbone = MobileNet | EfficientNetV2

# keras.applications: per-channel mean and standard deviation of ImageNet, of RGB in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def preprocess(images: Num[Array, "b h w 3"], name: str) -> Float32[Array, "b h w 3"]:
    """Scales RGB as the named model's published weights expect it.

    Args:
      images: uint8, or float in [0, 255].
      name: one of MODELS.

    Returns:
      For MobileNet and EfficientNetV2 S to L, values of about [-1, 1]. For B0 to B3, values
      standardised by ImageNet's mean and standard deviation.
    """
    images = images.astype(jnp.float32)
    if name == "mobilenet":
        return images / 127.5 - 1.0
    if name.removeprefix("efficientnetv2-") in ("s", "m", "l"):
        return images / 128.0 - 1.0
    mean = jnp.asarray(IMAGENET_MEAN)[None, None, None]
    std = jnp.asarray(IMAGENET_STD)[None, None, None]
    return (images / 255.0 - mean) / std


class Head(nn.Module):
    """Pooling, an optional hidden layer, dropout, and the logits.

    Attributes:
      num_classes: K.
      pool: 'average' over all positions, or 'flatten', which keeps them.
      hidden: width of a ReLU layer before the logits. 0 for none.
      dropout: rate in front of the logits.
    """

    num_classes: int
    pool: str = "average"
    hidden: int = 0
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, feature_map: Float[Array, "b h w d"], train: bool = False
    ) -> Float32[Array, "b {self.num_classes}"]:
        """Returns the logits. Sows `hidden_activations`."""
        x = feature_map.astype(jnp.float32)
        x = x.reshape(x.shape[0], -1) if self.pool == "flatten" else x.mean((1, 2))
        init = nn.initializers.glorot_uniform()
        if self.hidden:
            x = nn.relu(nn.Dense(self.hidden, kernel_init=init, name="hidden")(x))
            self.sow("intermediates", "hidden_activations", x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, kernel_init=init, name="logits")(x)


class Classifier(nn.Module):
    """A backbone with its own preprocessing, and a head.

    Variables: `params` with the children `backbone` and `head`, `batch_stats` with `backbone`.
    """

    name_of_model: str
    backbone: Backbone
    head: Head

    def __call__(
        self, images: Num[Array, "b h w 3"], train: bool = False, frozen_bn: bool = False
    ) -> Float32[Array, "b k"]:
        """Computes the logits of images.

        Args:
          images: uint8, or float in [0, 255].
          train: dropout, drop path, and batch statistics (with `batch_stats` mutable).
          frozen_bn: keep to the running batch statistics even when training.
        """
        return self.head(self.feature_map(images, train, frozen_bn), train)

    def feature_map(
        self, images: Num[Array, "b h w 3"], train: bool = False, frozen_bn: bool = False
    ) -> Float[Array, "b _ _ d"]:
        """Computes the backbone's output from images, uint8 or float in [0, 255]."""
        return self.backbone(preprocess(images, self.name_of_model), train, frozen_bn)

    def features(
        self, images: Num[Array, "b h w 3"], train: bool = False, frozen_bn: bool = False
    ) -> Float32[Array, "b d"]:
        """Computes the backbone's output, averaged over positions."""
        return self.feature_map(images, train, frozen_bn).astype(jnp.float32).mean((1, 2))

    def classify(
        self, feature_map: Float[Array, "b h w d"], train: bool = False
    ) -> Float32[Array, "b k"]:
        """Computes logits from the backbone's output, by the head alone."""
        return self.head(feature_map, train)


def build(
    name: str,
    *,
    num_classes: int,
    alpha: float = 1.0,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    pool: str = "average",
    hidden: int = 0,
    dtype: Any = jnp.float32,
) -> Classifier:
    """Makes the classifier of a name.

    Args:
      name: one of MODELS.
      num_classes: K.
      alpha: MobileNet's width multiplier.
      drop_path: EfficientNetV2's stochastic-depth rate.
      dropout: rate in front of the logits.
      pool: 'average' or 'flatten', as in Head.
      hidden: width of a hidden layer of the head. 0 for none.
      dtype: of the backbone's activations.

    Raises:
      ValueError: for a name that is not in MODELS.
    """
    if name not in MODELS:
        raise ValueError(f"model is {name!r}; expected one of {', '.join(MODELS)}")
    backbone: Backbone
    if name == "mobilenet":
        backbone = MobileNet(alpha, dtype=dtype)
    else:
        variant = name.removeprefix("efficientnetv2-")
        backbone = EfficientNetV2(variant, drop_path=drop_path, dtype=dtype)
    return Classifier(name, backbone, Head(num_classes, pool, hidden, dropout))


def initial(model: Classifier, image_size: int, key: PRNGKeyArray) -> dict[str, Any]:
    """Makes initial `params` and `batch_stats` for square images of `image_size` pixels.

    The `batch_stats` of a backbone without batch norm are {'backbone': {}}.
    """
    variables = model.init(key, jnp.zeros((1, image_size, image_size, 3)))
    return {kind: variables.get(kind, {"backbone": {}}) for kind in ("params", "batch_stats")}


def initial_head(model: Classifier, shapes: dict[str, Any], key: PRNGKeyArray) -> dict[str, Any]:
    """Makes the head's parameters of `initial`, without the time that a backbone takes.

    Args:
      model: the classifier.
      shapes: what `initial` returns, or its shapes.
      key: as `initial` takes it.
    """
    first = shapes["params"]["head"]["hidden" if model.head.hidden else "logits"]
    # A map of one position has as many channels as the head has inputs, averaged or flattened.
    inputs = jnp.zeros((1, 1, 1, first["kernel"].shape[0]))
    return model.init(key, inputs, method="classify")["params"]["head"]
