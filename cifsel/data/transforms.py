"""Geometry and contrast of images, as functions that run on the device.

Images are (B, H, W, C) in [0, 255]. The warp interpolates linearly and reflects at the edges, as
Keras's augmentation layers do by default.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, Num

METHODS = ("nearest", "bilinear", "bicubic")
_GREY = 128.0


def resize(
    images: Num[Array, "b h w c"], size: int, method: str
) -> Float32[Array, "b {size} {size} c"]:
    """Scales to a square, smoothing where it shrinks.

    Args:
      images: float in [0, 255], or uint8.
      size: side of the result, in pixels.
      method: "nearest" (repeats pixels where `size` is a multiple of H and W), "bilinear" or
          "bicubic".

    Returns:
      Values in [0, 255]. Images that have that size already keep their pixels.
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


def crop_and_resize(
    images: Num[Array, "b h w c"],
    centres: Float[Array, "b 2"],
    sides: Float[Array, "b 2"],
    size: int,
) -> Float32[Array, "b {size} {size} c"]:
    """Cuts a rectangle out of each image and scales it to a square, smoothing where it shrinks.

    Interpolation is bilinear, by two matrix products for each image.

    Args:
      images: float in [0, 255], or uint8.
      centres: of the rectangles, row and column as shares of the image's height and width.
      sides: their height and width, as shares of the image's. The rectangles lie within the image.
      size: side of the result, in pixels.

    Returns:
      Values in [0, 255].
    """
    _, height, width, _ = images.shape
    rows = _sampling(centres[:, 0] * height, sides[:, 0] * height, height, size)
    columns = _sampling(centres[:, 1] * width, sides[:, 1] * width, width, size)
    halves = jnp.einsum("boh,bhwc->bowc", rows, images.astype(jnp.float32))
    return jnp.einsum("bpw,bowc->bopc", columns, halves)


def _sampling(
    centres: Float[Array, " b"], lengths: Float[Array, " b"], pixels: int, size: int
) -> Float32[Array, "b {size} {pixels}"]:
    """Weights of the pixels of an axis, for each of `size` positions along an interval of it."""
    step = (lengths / size)[:, None]
    positions = jnp.arange(size, dtype=jnp.float32)[None] + 0.5
    at = (centres - lengths / 2)[:, None] + positions * step - 0.5
    # Where the image shrinks, each position averages over as many pixels as it stands for.
    reach = jnp.maximum(step, 1.0)[..., None]
    distance = jnp.abs(at[..., None] - jnp.arange(pixels, dtype=jnp.float32)[None, None])
    weights = jnp.maximum(1.0 - distance / reach, 0.0)
    return weights / weights.sum(-1, keepdims=True)


def shift(
    images: Num[Array, "b h w c"], offsets: Int[Array, "b 2"], limit: int
) -> Num[Array, "b h w c"]:
    """Moves each image by whole pixels. The image is reflected beyond its edges.

    Reflection does not repeat the edge pixels.

    Args:
      images: of any range.
      offsets: rows and columns to look further down and right, -limit to limit.
      limit: less than H and W.
    """
    _, height, width, channels = images.shape
    if limit >= min(height, width):
        raise ValueError(f"shift is {limit}: images of {height}x{width} pixels allow less")
    padded = jnp.pad(images, ((0, 0), (limit, limit), (limit, limit), (0, 0)), mode="reflect")

    # As one slice of each image: pixel by pixel takes a TPU 30 times as long.
    def window(image: Num[Array, "_ _ c"], start: Int[Array, " 2"]) -> Num[Array, "_ _ c"]:
        return jax.lax.dynamic_slice(image, (start[0], start[1], 0), (height, width, channels))

    return jax.vmap(window)(padded, limit + offsets)


def warp(
    images: Float[Array, "b s s c"],
    angles: Float[Array, " b"],
    scales: Float[Array, " b"],
    *,
    largest_angle: float,
    largest_scale: float,
) -> Float[Array, "b s s c"]:
    """Turns and scales images about their centre.

    Interpolation is bilinear. Edges are reflected, with the edge pixels repeated.

    Args:
      images: of 2 pixels a side or more.
      angles: radians. Positive ones turn the content anticlockwise, as in Keras.
      scales: how much of each side is seen. Less than 1 zooms in.
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


def warp_pixel_by_pixel(
    images: Float[Array, "b h w c"], angles: Float[Array, " b"], scales: Float[Array, " b"]
) -> Float[Array, "b h w c"]:
    """Does `warp` by fetching the four pixels around each position."""
    batch, height, width, _ = images.shape
    y = jnp.arange(height, dtype=jnp.float32)[None, :, None] - (height - 1) / 2
    x = jnp.arange(width, dtype=jnp.float32)[None, None, :] - (width - 1) / 2
    cosine, sine = (scales * f(angles) for f in (jnp.cos, jnp.sin))
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    top, below = _between(sine * x + cosine * y + (height - 1) / 2, height)
    left, right = _between(cosine * x - sine * y + (width - 1) / 2, width)
    image = jnp.arange(batch)[:, None, None]

    def row(index: Int[Array, "b h w"]) -> Float[Array, "b h w c"]:
        here, next_ = images[image, index, left], images[image, index, left + 1]
        return here + right * (next_ - here)

    upper, lower = row(top), row(top + 1)
    return upper + below * (lower - upper)


def warp_in_two_passes(
    images: Float[Array, "b s s c"],
    angles: Float[Array, " b"],
    scales: Float[Array, " b"],
    *,
    largest_angle: float,
    largest_scale: float,
) -> Float[Array, "b s s c"]:
    """Does `warp` as matrix products: along each row, then along each column of the result.

    From Catmull and Smith, "3-D transformations of images in scanline order", 1980. Where only the
    scale changes, the result is that of `warp_pixel_by_pixel`. Where images are turned, values
    between pixels are interpolated along other lines than those of the grid. This makes no
    difference where the image is smooth. Pixels are rounded to bfloat16, by up to a quarter of a
    grey level of 255.
    """
    size = images.shape[1]
    if largest_angle > math.pi / 4:
        images, angles = _quarter_turns(images, angles)
    turn = min(largest_angle, math.pi / 4)
    reach = largest_scale * (math.sin(turn) + math.cos(turn))
    margin = max(math.ceil((reach - 1) * size / 2), 0) + 1
    # The rows, with those beyond the edges that the second pass reads.
    beyond = np.arange(-margin, size + margin)
    folded = beyond % (2 * size)
    images = images[:, np.minimum(folded, 2 * size - 1 - folded)]

    centre = (size - 1) / 2
    out = jnp.arange(size, dtype=jnp.float32)[None, None, :] - centre
    row = jnp.asarray(beyond, jnp.float32)[None, :, None] - centre
    cosine, sine, scales = (x[:, None, None] for x in (jnp.cos(angles), jnp.sin(angles), scales))
    # Where the line of the column `out` of the result crosses each row.
    across = scales / cosine * out - sine / cosine * row + centre
    lines = _interpolated("brox,brxc->broc", images - _GREY, _folded(across, size), size)
    column = jnp.swapaxes(out, 1, 2)
    down = scales * (sine * column + cosine * out) + centre + margin
    return _interpolated("boiy,byoc->bioc", lines, down, len(beyond)) + _GREY


def _interpolated(
    product: str, values: Float[Array, "b _ _ c"], positions: Float[Array, "b _ _"], size: int
) -> Float32[Array, "b _ _ c"]:
    """Values at positions along the axis of that size, over which the product sums."""
    pixels = jnp.arange(size, dtype=jnp.float32)[None, None, None, :]
    weights = jnp.maximum(1 - jnp.abs(positions[..., None] - pixels), 0)
    # bfloat16 is quickest on a TPU, and the model's first layer would lose more bits anyway.
    weights, values = weights.astype(jnp.bfloat16), values.astype(jnp.bfloat16)
    return jnp.einsum(product, weights, values, preferred_element_type=jnp.float32)


def _quarter_turns(
    images: Float[Array, "b s s c"], angles: Float[Array, " b"]
) -> tuple[Float[Array, "b s s c"], Float[Array, " b"]]:
    """Turns by multiples of 90 degrees. Returns the angles left to turn too, at most 45 degrees."""
    quarters = jnp.round(angles / (math.pi / 2))
    which = (quarters.astype(jnp.int32) % 4)[:, None, None, None]
    turned = images
    for count in (1, 2, 3):
        turned = jnp.where(which == count, jnp.rot90(images, count, axes=(1, 2)), turned)
    return turned, angles - quarters * (math.pi / 2)


def adjust_contrast(
    images: Float[Array, "b h w c"], factors: Float[Array, " b"]
) -> Float[Array, "b h w c"]:
    """Scales each channel about its mean, within [0, 255]."""
    mean = images.mean((1, 2), keepdims=True)
    return jnp.clip(mean + (images - mean) * factors[:, None, None, None], 0.0, 255.0)


def _folded(position: Float[Array, "*shape"], size: int) -> Float[Array, "*shape"]:
    """The positions within the image that have the same value as those beyond its edges.

    Positions are reflected about the outer edges of the outermost pixels, then clipped. This is
    the same as interpolating in an endlessly reflected image.
    """
    folded = jnp.mod(position + 0.5, 2 * size)
    return jnp.clip(jnp.minimum(folded, 2 * size - folded) - 0.5, 0, size - 1)


def _between(
    position: Float[Array, "*shape"], size: int
) -> tuple[Int32[Array, "*shape"], Float[Array, "*shape 1"]]:
    """Index of the pixel before each position, and how far past it the position is.

    The pixel after it always exists.
    """
    position = _folded(position, size)
    index = jnp.minimum(jnp.floor(position), size - 2)
    return index.astype(jnp.int32), (position - index)[..., None]
