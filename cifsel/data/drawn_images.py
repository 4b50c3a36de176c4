"""Drawn stand-ins for real images, so that everything can be tried without a download.

There are ten families of shapes, each in five variants that differ in a count (of corners, petals,
gaps). They make 50 classes in ten groups of five, as CIFAR-100's animals and people. Each class has
a typical colour that its images stray from. Position, size, rotation, background, light and noise
vary a little. So a small network learns most of them in the few epochs of the quickstart.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8

from cifsel.data import splits
from cifsel.errors import UserError

_SIZE = 32
# How far, per channel of 255, an image's ink strays from its class's typical colour. Colour is then
# a hint, as it is for animals, but the shape is needed too. Without a hint, MobileNet needs more
# than a few minutes to begin to learn.
_INK_SPREAD = 20.0

_Field = Float[np.ndarray, "*shape"]
# A shape is a function of its count k and of points, in Cartesian (u, v) and polar (r, a)
# coordinates. It returns the approximate signed distance from its outline, in units of its radius,
# negative inside.
_Shape = Callable[[int, _Field, _Field, _Field, _Field], _Field]


# A comparison asks for the images of its runs again.
@functools.lru_cache(maxsize=1)
def draw_classes(
    *, train_per_class: int, val_per_class: int, test_per_class: int, seed: int
) -> splits.Dataset:
    """Draws 50 classes of 32-pixel images.

    Args:
      train_per_class: images of each class to train on, 1 or more.
      val_per_class: to validate on, 1 or more.
      test_per_class: to test on, 1 or more.
      seed: 0 or more.

    Returns:
      Images of 32 x 32 pixels. Classes alternate within each split. Ids are unique over the three
      splits. Names are family and count, like "ring-2", in alphabetical order.

    Raises:
      UserError: a number is out of range.
    """
    sizes = {"train": train_per_class, "val": val_per_class, "test": test_per_class}
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{name}_per_class is {size}: give 1 or more")
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or more")
    per_class = sum(sizes.values())
    classes = [
        (f"{family}-{count}", shape, count)
        for family, (shape, counts) in _FAMILIES.items()
        for count in counts
    ]
    names = tuple(name for name, _, _ in classes)
    images = np.empty((per_class, len(names), _SIZE, _SIZE, 3), np.uint8)
    for label, (_, shape, count) in enumerate(classes):
        images[:, label] = _draw(shape, count, per_class, np.random.default_rng([seed, label]))
    images.setflags(write=False)
    total = per_class * len(names)
    everything = splits.Split(
        images.reshape(total, _SIZE, _SIZE, 3),
        np.tile(np.arange(len(names), dtype=np.int32), per_class),
        np.arange(total, dtype=np.int32),
    )
    ends = np.cumsum([size * len(names) for size in sizes.values()])
    train, val, test = (
        everything.at(positions) for positions in np.split(np.arange(total), ends[:-1])
    )
    return splits.Dataset(
        train,
        val,
        test,
        class_names=names,
        coarse_names=tuple(_FAMILIES),
        coarse_of=np.repeat(np.arange(len(_FAMILIES), dtype=np.int32), 5),
        fingerprint=splits.fingerprint(train, val, test),
    )


def _draw(
    shape: _Shape, count: int, n: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "{n} h w 3"]:
    """Draws the images of a class."""

    def uniform(low: float, high: float, *size: int) -> np.ndarray:
        return rng.uniform(low, high, (n, *(size or (1, 1)))).astype(np.float32)

    y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float32) - (_SIZE - 1) / 2
    radius, turn = uniform(10.3, 12.7), uniform(-0.2, 0.2)
    y, x = y - uniform(-1.5, 1.5), x - uniform(-1.5, 1.5)
    u = (np.cos(turn) * x + np.sin(turn) * y) / radius
    v = (np.cos(turn) * y - np.sin(turn) * x) / radius
    outside = shape(count, u, v, np.hypot(u, v), np.arctan2(v, u))
    # One pixel wide, the edge is as smooth as a photo's.
    inside = np.clip(0.5 - outside * radius, 0, 1)[..., None]

    ground, ink = _two_colours(n, rng)
    canvas = ground + _texture(n, rng) * uniform(4, 18, 1, 1, 1)
    canvas += inside * (ink + _texture(n, rng) * 15 - canvas)
    light = uniform(0.7, 1.15, 1, 1, 1)
    noise = rng.standard_normal(canvas.shape, np.float32) * uniform(3, 9, 1, 1, 1)
    canvas = canvas * light + noise
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)


def _two_colours(
    n: int, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "{n} 1 1 3"], Float32[np.ndarray, "{n} 1 1 3"]]:
    """Draws background and ink of a class, far enough apart to be seen."""
    typical = rng.uniform(20, 235, 3)
    inks = typical + rng.normal(0, _INK_SPREAD, (n, 8, 3))
    candidates = np.stack([rng.uniform(0, 255, (n, 8, 3)), inks.clip(0, 255)], axis=2)
    candidates = candidates.astype(np.float32)
    distance = np.linalg.norm(candidates[:, :, 0] - candidates[:, :, 1], axis=-1)
    # The first pair that is far enough, else the last.
    chosen = np.argmax(np.hstack([distance[:, :-1] > 110, np.ones((n, 1), bool)]), axis=1)
    pairs = candidates[np.arange(n), chosen]
    return pairs[:, None, None, 0], pairs[:, None, None, 1]


def _texture(n: int, rng: np.random.Generator) -> Float32[np.ndarray, "{n} h w 3"]:
    """Draws smooth waves in each channel, within -1 to 1."""
    y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float32) / _SIZE
    total = np.zeros((n, _SIZE, _SIZE, 3), np.float32)
    for _ in range(2):
        fy, fx = rng.uniform(-12, 12, (2, n, 1, 1)).astype(np.float32)
        phase = rng.uniform(0, 2 * np.pi, (n, 1, 1)).astype(np.float32)
        weight = rng.uniform(-0.5, 0.5, (n, 1, 1, 3)).astype(np.float32)
        total += weight * np.sin(fy * y + fx * x + phase)[..., None]
    return total


def _from_nearest(angle: _Field, count: int) -> _Field:
    """Returns the angle to the nearest of `count` even directions, -pi/count to pi/count."""
    step = 2 * np.pi / count
    return (angle + step / 2) % step - step / 2


def _checker(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A square board of k by k fields."""
    frequency = k * np.pi / 1.7
    fields = np.sin(frequency * (u + 0.85)) * np.sin(frequency * (v + 0.85)) / frequency
    return np.maximum(np.maximum(abs(u), abs(v)) - 0.85, fields)


def _dots(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A circle of k discs."""
    nearest = _from_nearest(a, k)
    return np.hypot(r * np.cos(nearest) - 0.7, r * np.sin(nearest)) - 0.27


def _flower(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A flower with k round petals."""
    return 0.6 * (r - 0.65 - 0.35 * np.cos(k * a))


def _polygon(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """The outline of a regular polygon with k corners."""
    edge = r * np.cos(_from_nearest(a, k)) - np.cos(np.pi / k)
    return abs(edge + 0.15) - 0.15


def _ring(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A ring with k gaps."""
    return np.maximum(abs(r - 0.75) - 0.2, 0.2 - r * abs(_from_nearest(a, k)))


def _spiral(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A centre with k arms that wind round it."""
    slope = np.hypot(7.0, k / np.maximum(r, 0.15))
    return np.maximum(r - 1, np.cos(k * a - 7.0 * r) / slope)


def _spokes(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A centre with k straight arms."""
    nearest = _from_nearest(a, k)
    return np.maximum(r - 1, r * abs(np.sin(nearest)) - 0.12)


def _star(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A star with k pointed rays."""
    along = abs(_from_nearest(a, k)) * k / np.pi
    return 0.6 * (r - 1 + 0.6 * along)


def _stripes(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A disc cut into k bands."""
    frequency = k * np.pi
    return np.maximum(r - 1, np.sin(frequency * (u + 1)) / frequency)


def _wave(k: int, u: _Field, v: _Field, r: _Field, a: _Field) -> _Field:
    """A line that swings k times."""
    swing = 0.45 * np.sin(k * np.pi * u)
    slope = np.hypot(1.0, 0.45 * k * np.pi * np.cos(k * np.pi * u))
    return np.maximum(abs(u) - 1, abs(v - swing) / slope - 0.13)


# Each family with its five counts.
_FAMILIES: dict[str, tuple[_Shape, Sequence[int]]] = {
    "checker": (_checker, range(2, 7)),
    "dots": (_dots, range(2, 7)),
    "flower": (_flower, range(2, 7)),
    "polygon": (_polygon, (3, 4, 5, 6, 8)),
    "ring": (_ring, range(1, 6)),
    "spiral": (_spiral, range(1, 6)),
    "spokes": (_spokes, range(3, 8)),
    "star": (_star, range(3, 8)),
    "stripes": (_stripes, range(2, 7)),
    "wave": (_wave, range(1, 6)),
}
