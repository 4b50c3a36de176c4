"""A classifier that compiles in an instant, for tests of what is done with models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cifsel.models.classifier import Classifier, Head


class Layer(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x: jax.Array, fixed: bool) -> jax.Array:
        x = nn.Conv(self.features, (3, 3), (4, 4), use_bias=False, name="conv")(x)
        return nn.relu(nn.BatchNorm(use_running_average=fixed, momentum=0.9, name="bn")(x))


class Backbone(nn.Module):
    """Two layers with all that a real backbone has, which compile in an instant."""

    dtype: Any = jnp.float32
    layer_names = ("first", "second")

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, frozen_bn: bool = False) -> jax.Array:
        fixed = not train or frozen_bn
        return Layer(12, name="second")(Layer(6, name="first")(x, fixed), fixed)


def build_tiny(
    name: str = "mobilenet",
    *,
    num_classes: int = 5,
    pool: str = "average",
    hidden: int = 0,
    dropout: float = 0.0,
    **_: Any,
) -> Classifier:
    """Stands in for `classifier.build`."""
    return Classifier(name, Backbone(), Head(num_classes, pool, hidden, dropout))


@pytest.fixture(name="build_tiny", scope="session")
def _build_tiny() -> Any:
    return build_tiny


def made_up_variables(model: Classifier, size: int) -> Any:
    """Variables under which images still differ at the other end; quicker than compiling `init`."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))

    def fill(path: Any, leaf: Any) -> np.ndarray:
        if path[-1].key == "kernel":
            value = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
        else:
            low, high = {"scale": (0.8, 1.2), "var": (0.6, 0.9)}.get(path[-1].key, (-0.3, 0.3))
            value = rng.uniform(low, high, leaf.shape)
        return value.astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(fill, shapes)
    # jnp.asarray would compile a program for each shape.
    return jax.device_put({name: variables[name] for name in ("params", "batch_stats")})


@pytest.fixture(scope="session")
def variables_of() -> Any:
    """`made_up_variables`: (model, image size) -> variables."""
    return made_up_variables


# The crop in the meta of a checkpoint of task 2.
CROP = {"kind": "none", "margin": 1.2, "fallback": False, "middle": 1.0}


def selfie_meta(
    model: str, places: list[Any], size: int, class_names: list[str], alpha: float = 1.0
) -> dict[str, Any]:
    """The meta of a checkpoint of task 2, as `workdir.model_meta` reads it."""
    return {
        "l2": 0.01,
        "task": "selfie",
        "init_from": "imagenet",
        "config": {},
        "backbone": {"model": model, "alpha": alpha},
        "class_names": class_names,
        "places": places,
        "image_size": size,
        "resize": "bicubic",
        "mirror": True,
        "crop": CROP,
        "temperature": 1.6,
        "sure_from": 0.7,
        "unlike_from": None,
    }
