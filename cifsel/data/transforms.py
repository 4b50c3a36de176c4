"""Geometry and contrast of images, on the device: what changes how images are shown, not what.

Images are (B, H, W, C) in [0, 255]. Fill ("reflect") and interpolation (bilinear) of the warp are
the defaults of Keras's augmentation layers.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

METHODS = ("nearest", "bilinear", "bicubic")
_GREY = 128.0


def resize(images: jax.Array, size: int, method: str) -> jax.Array:
    """Scales to a square, smoothing where it shrinks.

    Args:
      images: (B, H, W, C), float in [0, 255] or uint8.
      size: side of the result, in pixels.
      method: "nearest" (repeats pixels where `size` is a multiple of H and W), "bilinear" or
          "bicubic".

    Returns:
      float32 (B, size, size, C) in [0, 255]; the same pixels if the images have that size.
    """
    if method not in METHODS:
        raise ValueError(f"resize method is {method!r}: give one of {', '.join(METHODS)}")
    images = images.astype(jnp.float32)
    batch, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    shape = (batch, size, size, channels)
    # A bicubic kernel overshoots at edges.
    return jnp.clip(jax.image.resize(images, shape, method, antialias=True), 0.0, 255.0)


def shift(images: jax.Array, offsets: jax.Array, limit: int) -> jax.Array:
    """Moves each image by whole pixels; what comes in is reflected, edge pixels not repeated.

    Args:
      images: (B, H, W, C).
      offsets: int (B, 2), rows and columns to look further down and right, -limit to limit.
      limit: less than H and W.
    """
    _, height, width, channels = images.shape
    if limit >= min(height, width):
        raise ValueError(f"shift is {limit}: images of {height}x{width} pixels allow less")
    padded = jnp.pad(images, ((0, 0), (limit, limit), (limit, limit), (0, 0)), mode="reflect")

    # As one slice of each image; pixel by pixel takes a TPU 30 times as long.
    def window(image: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (start[0], start[1], 0), (height, width, channels))

    return jax.vmap(window)(padded, limit + offsets)


def warp(
    images: jax.Array,
    angles: jax.Array,
    scales: jax.Array,
    *,
    largest_angle: float,
    largest_scale: float,
) -> jax.Array:
    """Turns and scales about the centre, bilinear, edges reflected (edge pixels repeated).

    Args:
      images: float (B, S, S, C), S 2 or more.
      angles: (B,) radians; positive turns the content anticlockwise, as in Keras.
      scales: (B,) how much of each side is seen: less than 1 zooms in.
      largest_angle: bound of |angles|.
      largest_scale: bound of `scales`.
    """
    # A TPU fetches pixels one by one, which takes longer than all the rest of a training step.
    in_two_passes = functools.partial(
        warp_in_two_passes, largest_angle=largest_angle, largest_scale=largest_scale
    )
    return jax.lax.platform_dependent(
        images, angles, scales, tpu=in_two_passes, default=warp_pixel_by_pixel
    )


def warp_pixel_by_pixel(images: jax.Array, angles: jax.Array, scales: jax.Array) -> jax.Array:
    """`warp` by fetching the four pixels around each position; images may be (B, H, W, C)."""
    batch, height, width, _ = images.shape
    y = jnp.arange(height)[:, None] - (height - 1) / 2
    x = jnp.arange(width)[None, :] - (width - 1) / 2
    cosine, sine = (scales * f(angles) for f in (jnp.cos, jnp.sin))
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    top, below = _between(sine * x + cosine * y + (height - 1) / 2, height)
    left, right = _between(cosine * x - sine * y + (width - 1) / 2, width)
    image = jnp.arange(batch)[:, None, None]

    def row(index: jax.Array) -> jax.Array:
        here, next_ = images[image, index, left], images[image, index, left + 1]
        return here + right * (next_ - here)

    upper, lower = row(top), row(top + 1)
    return upper + below * (lower - upper)


def warp_in_two_passes(
    images: jax.Array,
    angles: jax.Array,
    scales: jax.Array,
    *,
    largest_angle: float,
    largest_scale: float,
) -> jax.Array:
    """`warp` as matrix products: along each row, then along each column of what that gives.

    Catmull and Smith, "3-D transformations of images in scanline order", 1980. The same where only
    the scale changes; of images that are turned, the pixel values in between are interpolated along
    other lines than those of the grid, which makes no difference where the image is smooth. Pixels
    are rounded to bfloat16, by up to a quarter of a grey level of 255.
    """
    size = images.shape[1]
    if largest_angle > math.pi / 4:
        images, angles = _quarter_turns(images, angles)
    turn = min(largest_angle, math.pi / 4)
    reach = largest_scale * (math.sin(turn) + math.cos(turn))
    margin = max(math.ceil((reach - 1) * size / 2), 0) + 1
    # With the rows beyond the edges that the second pass will ask for.
    beyond = np.arange(-margin, size + margin)
    folded = beyond % (2 * size)
    images = images[:, np.minimum(folded, 2 * size - 1 - folded)]

    centre = (size - 1) / 2
    out, row = jnp.arange(size) - centre, jnp.asarray(beyond, jnp.float32) - centre
    cosine, sine, scales = (x[:, None, None] for x in (jnp.cos(angles), jnp.sin(angles), scales))
    # Where the line of the column `out` of the result crosses each row.
    across = scales / cosine * out - sine / cosine * row[:, None] + centre
    lines = _interpolated("brox,brxc->broc", images - _GREY, _folded(across, size), size)
    down = scales * (sine * out[:, None] + cosine * out) + centre + margin
    return _interpolated("boiy,byoc->bioc", lines, down, len(beyond)) + _GREY


def _interpolated(product: str, values: jax.Array, positions: jax.Array, size: int) -> jax.Array:
    """Values at positions along the axis of that size, over which the product sums."""
    weights = jnp.maximum(1 - jnp.abs(positions[..., None] - jnp.arange(size)), 0)
    # What a TPU multiplies fastest; more bits would be lost in the model's first layer.
    weights, values = weights.astype(jnp.bfloat16), values.astype(jnp.bfloat16)
    return jnp.einsum(product, weights, values, preferred_element_type=jnp.float32)


def _quarter_turns(images: jax.Array, angles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Turns by multiples of 90 degrees; what is left to turn is 45 at most."""
    quarters = jnp.round(angles / (math.pi / 2))
    which = (quarters.astype(jnp.int32) % 4)[:, None, None, None]
    turned = images
    for count in (1, 2, 3):
        turned = jnp.where(which == count, jnp.rot90(images, count, axes=(1, 2)), turned)
    return turned, angles - quarters * (math.pi / 2)


def adjust_contrast(images: jax.Array, factors: jax.Array) -> jax.Array:
    """Scales each channel about its mean, within [0, 255]. `factors` is (B,)."""
    mean = images.mean((1, 2), keepdims=True)
    return jnp.clip(mean + (images - mean) * factors[:, None, None, None], 0.0, 255.0)


def _folded(position: jax.Array, size: int) -> jax.Array:
    """Where to interpolate instead, within the image.

    Reflecting the position about the outer edges of the outermost pixels, then clipping, gives the
    same as interpolating in an endlessly reflected image.
    """
    folded = jnp.mod(position + 0.5, 2 * size)
    return jnp.clip(jnp.minimum(folded, 2 * size - folded) - 0.5, 0, size - 1)


def _between(position: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Index of the pixel before each position, and how far past it, (...) and (..., 1).

    The pixel after it always exists.
    """
    position = _folded(position, size)
    index = jnp.minimum(jnp.floor(position), size - 2)
    return index.astype(jnp.int32), (position - index)[..., None]
