"""Random changes to training images, on the device: pure functions of a key, for use inside a step.

Images are float32 (B, H, W, 3) in [0, 255] going in and coming out. Each image draws its own
numbers. Rotation, zoom and contrast are those of the Keras layers RandomRotation, RandomZoom and
RandomContrast; rotation and zoom are one warp here instead of two, so that images are interpolated
once.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from cifsel.data import transforms

# Random erasing: fraction of the image, and ratio of the sides at most (either way). The ratio is
# that of Zhong et al., "Random Erasing Data Augmentation", 2017; their area goes up to 40 %, which
# hides most of an animal that fills half a 32-pixel image.
_ERASE_AREA = 0.02, 0.2
_ERASE_ASPECT = 3.3

# Largest sensible value of each number in a policy.
_LIMITS = {
    "shift": 1024,
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
    """What to do to training images. Everything is off by default.

    Attributes:
      flip: mirror left and right, half of the images.
      shift: by up to this many pixels of the source image each way, the edges reflected.
      rotate: by up to this fraction of a full turn either way.
      zoom: in or out by up to this fraction; .2 shows 80 to 120 % of each side.
      contrast: each channel's distance from its mean times 1 - contrast to 1 + contrast.
      mixup: alpha of the Beta(alpha, alpha) that mixing weights are drawn from.
      cutmix: the same for the area that is pasted from another image.
      erase: probability of blanking a rectangle of 2 to 20 % of the image.
      one_random: strength of `one_random`, 0 to 1; 0 for none.

    Raises:
      ValueError: a value is out of range; names the field.
    """

    flip: bool = False
    shift: int = 0
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
    key: jax.Array, images: jax.Array, policy: Policy, image_size: int, method: str
) -> jax.Array:
    """Flips and shifts, resizes, rotates and zooms, changes contrast and what not, erases.

    With an empty policy this is `transforms.resize`. Mixing, which needs labels, is `mix`.

    Args:
      key: a key of `jax.random`.
      images: (B, H, W, 3) float in [0, 255] or uint8; H and W more than `policy.shift`.
      policy: what to do.
      image_size: side of the result, in pixels.
      method: of `transforms.resize`.

    Returns:
      float32 (B, image_size, image_size, 3) in [0, 255].
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


def one_random(key: jax.Array, images: jax.Array, strength: float) -> jax.Array:
    """Changes each image in one way, drawn with its strength: a lighter TrivialAugment.

    Mueller and Hutter, "TrivialAugment", 2021, on what survives at 32 pixels: turning by up to 30
    degrees, zooming, contrast, brightness and saturation by up to half, or nothing.

    Args:
      key: a key of `jax.random`.
      images: float (B, H, W, 3) in [0, 255].
      strength: of the strongest change, as a share of those limits.

    Returns:
      The same shape and range.
    """
    choice_key, amount_key = jax.random.split(key)
    batch = len(images)
    kind = jax.random.randint(choice_key, (batch,), 0, 6)
    (amount,) = strength * _uniform(amount_key, 1, batch)

    def share_of(which: int) -> jax.Array:
        return jnp.where(kind == which, amount, 0.0)

    # Each of the other changes is the identity at 0, so that one pass over the batch does them all.
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
    key: jax.Array, images: jax.Array, targets: jax.Array, policy: Policy
) -> tuple[jax.Array, jax.Array]:
    """Mixup or cutmix of each image with another of the batch; with both set, one drawn per batch.

    Partners come from one permutation of the batch, weights are drawn per image. Rows that only
    fill up the last batch may be partners too: they hold real images (see `batches`).

    Args:
      key: a key of `jax.random`.
      images: float (B, H, W, C).
      targets: float (B, K), each row a distribution over the classes.
      policy: its `mixup` and `cutmix`.

    Returns:
      Mixed images and the targets in the same proportion: for cutmix, that of the pixels.
    """
    if not (policy.mixup or policy.cutmix):
        return images, targets
    choice_key, partner_key, weight_key, box_key = jax.random.split(key, 4)
    batch, height, width, _ = images.shape
    partner = jax.random.permutation(partner_key, batch)

    def weights(alpha: float) -> jax.Array:
        return jax.random.beta(weight_key, alpha, alpha, (batch,))

    def blend() -> jax.Array:
        return jnp.broadcast_to(weights(policy.mixup)[:, None, None], (batch, height, width))

    def paste() -> jax.Array:
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


def _erase(key: jax.Array, images: jax.Array, probability: float) -> jax.Array:
    """Paints a rectangle in the image's mean colour."""
    chosen_key, area_key, aspect_key, box_key = jax.random.split(key, 4)
    batch, height, width, _ = images.shape
    low, high = _ERASE_AREA
    area = jax.random.uniform(area_key, (batch,), minval=low, maxval=high)
    limit = math.log(_ERASE_ASPECT)
    aspect = jnp.exp(jax.random.uniform(aspect_key, (batch,), minval=-limit, maxval=limit))
    sides = jnp.stack([height * jnp.sqrt(area * aspect), width * jnp.sqrt(area / aspect)])
    # Wholly inside the image, so that the area is what it says.
    inside = _boxes(box_key, height, width, sides, clipped=False)
    chosen = jax.random.bernoulli(chosen_key, probability, (batch, 1, 1))
    painted = (inside * chosen)[..., None] > 0
    return jnp.where(painted, images.mean((1, 2), keepdims=True), images)


def _boxes(
    key: jax.Array, height: int, width: int, sides: jax.Array, clipped: bool = True
) -> jax.Array:
    """Random rectangles as masks, float32 (B, height, width), 1 inside.

    Args:
      key: a key of `jax.random`.
      height: of the image, in pixels.
      width: of the image, in pixels.
      sides: float (2, B), of the rectangles, in pixels; rounded.
      clipped: centres lie anywhere in the image, and what sticks out is cut off (cutmix); else
          the rectangles lie inside the image.
    """
    sides = jnp.round(sides)
    extent = jnp.array([[height], [width]], jnp.float32)
    place = jax.random.uniform(key, sides.shape)
    start = jnp.floor(place * extent - sides / 2 if clipped else place * (extent - sides + 1))
    stop = start + sides
    rows, columns = (
        (jnp.arange(size) >= start[axis, :, None]) & (jnp.arange(size) < stop[axis, :, None])
        for axis, size in enumerate((height, width))
    )
    return (rows[:, :, None] & columns[:, None, :]).astype(jnp.float32)


def _uniform(key: jax.Array, count: int, batch: int) -> jax.Array:
    """(count, batch) numbers in [-1, 1)."""
    return jax.random.uniform(key, (count, batch), minval=-1.0, maxval=1.0)
