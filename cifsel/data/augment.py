"""Random changes to training images: pure functions of a key, on the device, inside a step.

Images are float32 (B, H, W, 3) in [0, 255] before and after. Each image draws its own numbers.
Rotation, zoom and contrast are those of the Keras layers RandomRotation, RandomZoom and
RandomContrast. Rotation and zoom are one warp here instead of two, so that images are interpolated
once.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Num, PRNGKeyArray

from cifsel.data import transforms

# Random erasing: fraction of the image, and largest ratio of the sides, either way. The ratio is
# that of Zhong et al., "Random Erasing Data Augmentation", 2017. Their area goes up to 40 %, which
# hides most of an animal that fills half a 32-pixel image.
_ERASE_AREA = 0.02, 0.2
_ERASE_ASPECT = 3.3

# Width over height of a random crop, either way. Szegedy et al., "Going Deeper with
# Convolutions", 2014.
_CROP_ASPECT = 4 / 3

# Largest sensible value of each number in a policy.
_LIMITS = {
    "shift": 1024,
    "crop": 1.0,
    "rotate": 1.0,
    "zoom": 0.99,
    "contrast": 1.0,
    "mixup": 100.0,
    "cutmix": 100.0,
    "erase": 1.0,
    "one_random": 1.0,
}


@dataclasses.dataclass(frozen=True)
class Policy:
    """The changes to make to training images. All are off by default.

    Attributes:
      flip: mirror half of the images left and right.
      shift: move by up to this many pixels of the source image each way, edges reflected.
      crop: show a part of the image, of at least this share of its area. 0 shows all of it.
      rotate: turn by up to this fraction of a full turn either way.
      zoom: zoom in or out by up to this fraction. 0.2 shows 80 to 120 % of each side.
      contrast: multiply each channel's distance from its mean by 1 - contrast to 1 + contrast.
      mixup: alpha of the Beta(alpha, alpha) that mixing weights are drawn from.
      cutmix: the same for the area that is pasted from another image.
      erase: probability of blanking a rectangle of 2 to 20 % of the image.
      one_random: strength of the function `one_random`, 0 to 1.

    Raises:
      ValueError: a value is out of range. The message names the field.
    """

    flip: bool = False
    shift: int = 0
    crop: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    contrast: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    erase: float = 0.0
    one_random: float = 0.0

    def __post_init__(self) -> None:
        for field, limit in _LIMITS.items():
            value = getattr(self, field)
            if not 0 <= value <= limit:
                raise ValueError(f"{field} is {value}: give 0 (off) to {limit}")
        if not isinstance(self.shift, int):
            raise ValueError(f"shift is {self.shift}: give a whole number of pixels")


def augment_images(
    key: PRNGKeyArray, images: Num[Array, "b h w 3"], policy: Policy, image_size: int, method: str
) -> Float32[Array, "b {image_size} {image_size} 3"]:
    """Makes a policy's changes to images and resizes them. `mix` is not among the changes.

    In this order: flip, shift, crop and resize, rotate and zoom, contrast, one random change,
    erase. With an empty policy this is `transforms.resize`.

    Args:
      key: a key of `jax.random`.
      images: float in [0, 255] or uint8, with H and W more than `policy.shift`.
      policy: the changes.
      image_size: side of the result, in pixels.
      method: of `transforms.resize`.

    Returns:
      Values in [0, 255].
    """
    keys = jax.random.split(key, 5)
    batch = len(images)
    if policy.flip:
        mirrored = jax.random.bernoulli(keys[0], 0.5, (batch, 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    if policy.shift:
        limit = policy.shift
        offsets = jax.random.randint(keys[1], (batch, 2), -limit, limit + 1)
        images = transforms.shift(images, offsets, limit)
    if policy.crop:
        images = _crop(jax.random.fold_in(key, 6), images, policy.crop, image_size)
    else:
        images = transforms.resize(images, image_size, method)
    if policy.rotate or policy.zoom:
        turn, scale = _uniform(keys[2], 2, batch)
        angles = 2 * math.pi * policy.rotate * turn
        images = transforms.warp(
            images,
            angles,
            1 + policy.zoom * scale,
            largest_angle=2 * math.pi * policy.rotate,
            largest_scale=1 + policy.zoom,
        )
    if policy.contrast:
        (change,) = _uniform(keys[3], 1, batch)
        images = transforms.adjust_contrast(images, 1 + policy.contrast * change)
    if policy.one_random:
        images = one_random(jax.random.fold_in(key, 5), images, policy.one_random)
    if policy.erase:
        images = _erase(keys[4], images, policy.erase)
    return images


def _crop(
    key: PRNGKeyArray, images: Num[Array, "b h w 3"], least: float, size: int
) -> Float32[Array, "b {size} {size} 3"]:
    """Cuts a rectangle of random area, aspect and place out of each image, and resizes it."""
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    batch = len(images)
    area = jax.random.uniform(area_key, (batch,), minval=least, maxval=1.0)
    limit = math.log(_CROP_ASPECT)
    aspect = jnp.exp(jax.random.uniform(aspect_key, (batch,), minval=-limit, maxval=limit))
    # A side that would be longer than the image's is as long.
    root = jnp.sqrt(area)[:, None]
    shape = jnp.stack([1 / jnp.sqrt(aspect), jnp.sqrt(aspect)], axis=1)
    sides = jnp.minimum(root * shape, 1.0)
    centres = sides / 2 + jax.random.uniform(place_key, (batch, 2)) * (1 - sides)
    return transforms.crop_and_resize(images, centres, sides, size)


def one_random(
    key: PRNGKeyArray, images: Float[Array, "b s s 3"], strength: float
) -> Float[Array, "b s s 3"]:
    """Makes one change to each image. Its kind and its strength are drawn at random.

    A lighter form of Mueller and Hutter, "TrivialAugment", 2021, with changes that leave an image
    of 32 pixels recognisable: a turn of up to 30 degrees, zoom, contrast, brightness or saturation
    by up to half, or nothing.

    Args:
      key: a key of `jax.random`.
      images: values in [0, 255].
      strength: of the strongest change, as a share of those limits.

    Returns:
      Values in [0, 255].
    """
    choice_key, amount_key = jax.random.split(key)
    batch = len(images)
    kind = jax.random.randint(choice_key, (batch,), 0, 6)
    (amount,) = strength * _uniform(amount_key, 1, batch)

    def share_of(which: int) -> Float[Array, " b"]:
        return jnp.where(kind == which, amount, 0.0)

    # Each change is the identity at 0, so that one pass over the batch makes all of them.
    images = transforms.warp(
        images,
        math.pi / 6 * share_of(0),
        1 + 0.5 * share_of(1),
        largest_angle=math.pi / 6 * strength,
        largest_scale=1 + 0.5 * strength,
    )
    images = transforms.adjust_contrast(images, 1 + 0.5 * share_of(2))
    images = images * (1 + 0.5 * share_of(3))[:, None, None, None]
    grey = images.mean(3, keepdims=True)
    images = grey + (images - grey) * (1 + 0.5 * share_of(4))[:, None, None, None]
    return jnp.clip(images, 0.0, 255.0)


def mix(
    key: PRNGKeyArray,
    images: Float[Array, "b h w c"],
    targets: Float[Array, "b k"],
    policy: Policy,
) -> tuple[Float[Array, "b h w c"], Float[Array, "b k"]]:
    """Mixes each image with another of the batch, by mixup or cutmix.

    With both set, one of them is drawn per batch. Partners come from one permutation of the batch.
    Weights are drawn per image. Rows that only fill up the last batch may be partners too, as
    `batches` puts real images there.

    Args:
      key: a key of `jax.random`.
      images: of any range.
      targets: each row is a distribution over the classes.
      policy: its `mixup` and `cutmix` are used.

    Returns:
      Mixed images, and the targets in the same proportion: for cutmix, that of the pixels.
    """
    if not (policy.mixup or policy.cutmix):
        return images, targets
    choice_key, partner_key, weight_key, box_key = jax.random.split(key, 4)
    batch, height, width, _ = images.shape
    partner = jax.random.permutation(partner_key, batch)

    def weights(alpha: float) -> Float[Array, " b"]:
        return jax.random.beta(weight_key, alpha, alpha, (batch,))

    def blend() -> Float[Array, "b h w"]:
        return jnp.broadcast_to(weights(policy.mixup)[:, None, None], (batch, height, width))

    def paste() -> Float[Array, "b h w"]:
        side = jnp.sqrt(1 - weights(policy.cutmix))
        inside = _boxes(box_key, height, width, jnp.stack([side * height, side * width]))
        return 1.0 - inside

    if policy.mixup and policy.cutmix:
        kept = jax.lax.cond(jax.random.bernoulli(choice_key), blend, paste)
    else:
        kept = blend() if policy.mixup else paste()
    share = kept.mean((1, 2))[:, None]
    kept = kept[..., None]
    mixed = kept * images + (1 - kept) * images[partner]
    return mixed, share * targets + (1 - share) * targets[partner]


def _erase(
    key: PRNGKeyArray, images: Float[Array, "b h w c"], probability: float
) -> Float[Array, "b h w c"]:
    """Paints a rectangle in the image's mean colour."""
    chosen_key, area_key, aspect_key, box_key = jax.random.split(key, 4)
    batch, height, width, _ = images.shape
    low, high = _ERASE_AREA
    area = jax.random.uniform(area_key, (batch,), minval=low, maxval=high)
    limit = math.log(_ERASE_ASPECT)
    aspect = jnp.exp(jax.random.uniform(aspect_key, (batch,), minval=-limit, maxval=limit))
    sides = jnp.stack([height * jnp.sqrt(area * aspect), width * jnp.sqrt(area / aspect)])
    # No part is cut off, so that the area is as drawn.
    inside = _boxes(box_key, height, width, sides, clipped=False)
    chosen = jax.random.bernoulli(chosen_key, probability, (batch, 1, 1))
    painted = (inside.astype(bool) & chosen)[..., None]
    return jnp.where(painted, images.mean((1, 2), keepdims=True), images)


def _boxes(
    key: PRNGKeyArray, height: int, width: int, sides: Float[Array, "2 b"], clipped: bool = True
) -> Float32[Array, "b {height} {width}"]:
    """Makes random rectangles as masks, 1 inside.

    Args:
      key: a key of `jax.random`.
      height: of the image, in pixels.
      width: of the image, in pixels.
      sides: height and width of the rectangles, in pixels. They are rounded.
      clipped: True puts the centres anywhere in the image and cuts off parts that stick out, as
          cutmix does. False keeps the rectangles inside the image.
    """
    sides = jnp.round(sides)
    extent = jnp.array([[height], [width]], jnp.float32)
    place = jax.random.uniform(key, sides.shape)
    start = jnp.floor(place * extent - sides / 2 if clipped else place * (extent - sides + 1))
    stop = start + sides

    def between(size: int, axis: int) -> Bool[Array, "b {size}"]:
        pixels = jnp.arange(size, dtype=jnp.float32)[None, :]
        return (pixels >= start[axis, :, None]) & (pixels < stop[axis, :, None])

    rows, columns = between(height, 0), between(width, 1)
    return (rows[:, :, None] & columns[:, None, :]).astype(jnp.float32)


def _uniform(key: PRNGKeyArray, count: int, batch: int) -> Float[Array, "{count} {batch}"]:
    """Draws numbers in [-1, 1)."""
    return jax.random.uniform(key, (count, batch), minval=-1.0, maxval=1.0)
