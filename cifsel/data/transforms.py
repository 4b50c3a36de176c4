"""Geometry and contrast of images, on the device: what changes how images are shown, not what.

Images are (B, H, W, C) in [0, 255]. Fill ("reflect") and interpolation (bilinear) of the warp are
the defaults of Keras's augmentation layers.
"""

import jax
import jax.numpy as jnp

METHODS = ("nearest", "bilinear", "bicubic")


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
    batch, height, width, _ = images.shape
    if limit >= min(height, width):
        raise ValueError(f"shift is {limit}: images of {height}x{width} pixels allow less")
    padded = jnp.pad(images, ((0, 0), (limit, limit), (limit, limit), (0, 0)), mode="reflect")
    rows = limit + offsets[:, :1] + jnp.arange(height)
    columns = limit + offsets[:, 1:] + jnp.arange(width)
    image = jnp.arange(batch)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]]


def warp(images: jax.Array, angles: jax.Array, scales: jax.Array) -> jax.Array:
    """Turns and scales about the centre, bilinear, edges reflected (edge pixels repeated).

    Args:
      images: float (B, H, W, C), H and W 2 or more.
      angles: (B,) radians; positive turns the content anticlockwise, as in Keras.
      scales: (B,) how much of each side is seen: less than 1 zooms in.
    """
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


def adjust_contrast(images: jax.Array, factors: jax.Array) -> jax.Array:
    """Scales each channel about its mean, within [0, 255]. `factors` is (B,)."""
    mean = images.mean((1, 2), keepdims=True)
    return jnp.clip(mean + (images - mean) * factors[:, None, None, None], 0.0, 255.0)


def _between(position: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Index of the pixel before each position, and how far past it, (...) and (..., 1).

    The pixel after it always exists. Reflecting the position about the outer edges of the outermost
    pixels, then clipping, gives the same as interpolating in an endlessly reflected image.
    """
    folded = jnp.mod(position + 0.5, 2 * size)
    position = jnp.clip(jnp.minimum(folded, 2 * size - folded) - 0.5, 0, size - 1)
    index = jnp.minimum(jnp.floor(position), size - 2)
    return index.astype(jnp.int32), (position - index)[..., None]
