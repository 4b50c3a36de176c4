"""Drawn happy and sad faces, so that the second task can be tried without photos of anyone.

All faces of a seed are one person's, as selfies are. Happy and sad ones differ in mouth and brows.
All else varies a little, in the same way for both: position, size, tilt, eyes, light and noise.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Num, UInt8

from cifsel.data.photos import labelled
from cifsel.errors import UserError

_SIZE = 160
_CLASS_NAMES = ("happy", "sad")

_SKINS = (
    (255, 224, 196), (241, 194, 160), (224, 172, 125), (198, 134, 90), (150, 98, 66), (105, 68, 48),
)  # fmt: skip
_HAIRS = (
    (30, 24, 24), (62, 40, 28), (112, 72, 40), (160, 82, 45), (222, 184, 110), (150, 150, 155),
)  # fmt: skip
_STYLES = ("bald", "short", "long", "curly")
_IRISES = ((70, 45, 30), (95, 75, 40), (70, 110, 70), (70, 110, 160))
_WHITE, _DARK, _TONGUE = (250, 248, 244), (70, 22, 26), (205, 90, 95)


def draw_faces(per_class: int = 12, seed: int = 0) -> labelled.Photos:
    """Draws faces.

    Args:
      per_class: number of happy and of sad faces, 1 or more. The first k are the same for all
        numbers from k on.
      seed: of the person and the photos, 0 or more.

    Returns:
      Photos of 160 x 160 pixels in the classes 'happy' and 'sad'.

    Raises:
      UserError: a number is out of range.
    """
    if per_class < 1:
        raise UserError(f"per_class is {per_class}: give 1 or more")
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or more")
    digits = len(str(per_class))  # Zeros in front make the names sort by number.
    person = _Person.of(np.random.default_rng([seed]))
    labels = np.repeat(np.arange(2, dtype=np.int32), per_class)
    numbers = list(range(per_class)) * 2
    return labelled.Photos(
        images=tuple(
            _draw(person, bool(label == 0), np.random.default_rng([seed, int(label), number]))
            for label, number in zip(labels, numbers, strict=True)
        ),
        labels=labels,
        names=tuple(
            f"{_CLASS_NAMES[label]}/{number + 1:0{digits}}.png"
            for label, number in zip(labels, numbers, strict=True)
        ),
        class_names=_CLASS_NAMES,
        taken=(None,) * len(labels),
        skipped=(),
    )


@dataclasses.dataclass
class _Canvas:
    """An image that is being drawn.

    Attributes:
      pixels: RGB in [0, 255].
      u: coordinate of each pixel from the middle of the head to the right, turned with the head.
      v: the same, down. Both are in units of half the head's height.
      unit: half the head's height, in pixels.
    """

    pixels: Float[np.ndarray, "h w 3"]
    u: Float[np.ndarray, "h w"]
    v: Float[np.ndarray, "h w"]
    unit: float

    def fill(
        self,
        outside: Float[np.ndarray, "h w"],
        colour: Num[np.ndarray, " 3"] | tuple[int, int, int],
    ) -> None:
        """Paints where a signed distance, in units, is negative."""
        # One pixel wide, the edge is as smooth as a photo's.
        inside = np.clip(0.5 - outside * self.unit, 0, 1)[..., None]
        self.pixels += inside * (np.asarray(colour, float) - self.pixels)

    def ellipse(self, u: float, v: float, a: float, b: float) -> Float[np.ndarray, "h w"]:
        """Returns an approximate signed distance from an ellipse about (u, v)."""
        return (np.hypot((self.u - u) / a, (self.v - v) / b) - 1) * min(a, b)

    def arc(
        self, ends: tuple[float, float], v: tuple[float, float], rise: float
    ) -> Float[np.ndarray, "h w"]:
        """Returns the distance from a parabola between (ends[0], v[0]) and (ends[1], v[1]).

        Its middle is `rise` below the straight line.
        """
        span = ends[1] - ends[0]
        along = np.clip((self.u - ends[0]) / span, 0, 1)
        height = v[0] + (v[1] - v[0]) * along + 4 * rise * along * (1 - along)
        slope = (v[1] - v[0] + 4 * rise * (1 - 2 * along)) / span
        return np.hypot(self.u - ends[0] - span * along, (self.v - height) / np.hypot(1, slope))


@dataclasses.dataclass(frozen=True)
class _Person:
    """A person and the place where the photos are taken. Colours are RGB in [0, 255].

    Attributes:
      skin: its colour.
      hair: its colour.
      style: of the hair, one of `_STYLES`.
      parting: where the hair is parted, in units to the right of the middle.
      width: half the head's width, in units.
      nose: the height of its tip below the middle of the head, in units.
      iris: the colour of the eyes.
      glasses: the colour of their frame. None without glasses.
      clothes: their colour.
      wall: the colours of the background at its upper and lower edge, (2, 3).
    """

    skin: np.ndarray
    hair: np.ndarray
    style: str
    parting: float
    width: float
    nose: float
    iris: np.ndarray
    glasses: np.ndarray | None
    clothes: np.ndarray
    wall: np.ndarray

    @classmethod
    def of(cls, rng: np.random.Generator) -> "_Person":
        """Draws a person."""
        return cls(
            skin=np.array(_SKINS[rng.integers(len(_SKINS))]) * rng.uniform(0.94, 1.04, 3),
            hair=np.array(_HAIRS[rng.integers(len(_HAIRS))]) * rng.uniform(0.85, 1.15),
            style=str(rng.choice(_STYLES, p=(0.16, 0.28, 0.28, 0.28))),
            parting=rng.uniform(-0.4, 0.4),
            width=rng.uniform(0.74, 0.86),
            nose=rng.uniform(0.16, 0.26),
            iris=np.array(_IRISES[rng.integers(len(_IRISES))]),
            glasses=rng.uniform(10, 120, 3) if rng.random() < 0.25 else None,
            clothes=rng.uniform(30, 230, 3),
            # Grey is mixed in, as rooms and skies have duller colours than random ones.
            wall=0.5 * rng.uniform(40, 230, (2, 1)) + 0.5 * rng.uniform(20, 245, (2, 3)),
        )


def _draw(person: _Person, happy: bool, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Draws a face."""
    y, x = np.mgrid[:_SIZE, :_SIZE] + 0.5
    turn, unit = rng.uniform(-0.03, 0.03), rng.uniform(52.5, 56.5)
    right, down = x - rng.uniform(78, 82), y - rng.uniform(78, 82)
    top, bottom = person.wall + rng.uniform(-5, 5, (2, 1))
    canvas = _Canvas(
        top + (bottom - top) * (y / _SIZE)[..., None],
        (np.cos(turn) * right + np.sin(turn) * down) / unit,
        (np.cos(turn) * down - np.sin(turn) * right) / unit,
        unit,
    )
    _head(canvas, person, rng)
    _eyes(canvas, person, rng)
    _brows(canvas, happy, np.minimum(person.hair * 0.7, person.skin * 0.5), rng)
    _mouth(canvas, happy, person.skin, rng)
    return _photographed(canvas.pixels, x / _SIZE - 0.5, y / _SIZE - 0.5, rng)


def _head(canvas: _Canvas, person: _Person, rng: np.random.Generator) -> None:
    """Draws hair, shoulders, neck, head, ears and nose."""
    width, skin, hair = person.width, person.skin, person.hair
    angle = np.arctan2(canvas.v, canvas.u)
    behind = canvas.ellipse(0, -0.12, width + 0.14, 1.02)
    if person.style == "long":
        corner = np.maximum(abs(canvas.u) - width + 0.08, 0), np.maximum(canvas.v - 0.9, 0)
        falling = np.maximum(np.hypot(*corner) - 0.2, -0.1 - canvas.v)
        behind = np.minimum(behind, falling)
    elif person.style == "curly":
        behind = canvas.ellipse(0, -0.2, width + 0.25, 1.05) + 0.05 * np.sin(13 * angle)
    if person.style != "bald":
        canvas.fill(behind, hair * 0.87)
    canvas.fill(canvas.ellipse(0, 2.0, 1.35, 0.85), person.clothes)
    neck = np.maximum(abs(canvas.u) - 0.33, abs(canvas.v - 0.9) - 0.4)
    canvas.fill(neck, skin * 0.82)
    for side in (-1, 1):
        canvas.fill(canvas.ellipse(side * width, 0.05, 0.12, 0.2), skin * 0.9)
    head = canvas.ellipse(0, 0, width, 1)
    canvas.fill(head, skin)
    # Hair falls over the forehead, parted on either side.
    line = -0.62 + 0.28 * (canvas.u - person.parting) ** 2 + rng.uniform(-0.02, 0.02)
    if person.style != "bald":
        canvas.fill(np.maximum(canvas.ellipse(0, -0.02, width + 0.04, 1.06), canvas.v - line), hair)
    blush, redder = rng.uniform(0.1, 0.3), skin * (1.0, 0.72, 0.72)
    for side in (-1, 1):
        distance = np.hypot(canvas.u - side * 0.46, canvas.v - 0.3)
        canvas.pixels += (blush * np.exp(-((distance / 0.17) ** 2)))[..., None] * (
            redder - canvas.pixels
        )
    tip = person.nose
    canvas.fill(canvas.arc((-0.09, 0.09), (tip, tip), 0.05) - 0.025, skin * 0.68)


def _eyes(canvas: _Canvas, person: _Person, rng: np.random.Generator) -> None:
    """Draws both eyes, more or less open, looking somewhere, perhaps with glasses."""
    apart, size, openness = 0.34, 0.16, rng.uniform(0.92, 1)
    look = rng.uniform(-0.1, 0.1, 2) * size
    for side in (-1, 1):
        u, v = side * apart, -0.1
        white = canvas.ellipse(u, v, size, size * openness)
        canvas.fill(white, _WHITE)
        for radius, colour in ((0.62, person.iris), (0.32, np.array([15, 12, 12]))):
            disc = canvas.ellipse(u + look[0], v + look[1], radius * size, radius * size)
            canvas.fill(np.maximum(disc, white), colour)
        canvas.fill(canvas.ellipse(u + 0.04, v - 0.05, 0.03, 0.03), _WHITE)
        lid = canvas.arc((u - size, u + size), (v, v), -0.9 * openness * size)
        canvas.fill(lid - 0.024, person.skin * 0.35)
    if person.glasses is not None:
        for side in (-1, 1):
            rim = abs(canvas.ellipse(side * apart, -0.08, 0.27, 0.24))
            canvas.fill(rim - 0.02, person.glasses)
        bridge = canvas.arc((0.27 - apart, apart - 0.27), (-0.1, -0.1), -0.02)
        canvas.fill(bridge - 0.02, person.glasses)


def _brows(canvas: _Canvas, happy: bool, colour: np.ndarray, rng: np.random.Generator) -> None:
    """Draws brows, arched when happy, raised at the inner ends when sad."""
    height, thick = rng.uniform(-0.44, -0.38), rng.uniform(0.03, 0.05)
    tilt = rng.uniform(-0.04, 0.03) if happy else rng.uniform(0.07, 0.14)
    rise = rng.uniform(-0.1, -0.05) if happy else rng.uniform(-0.02, 0.03)
    for side in (-1, 1):
        inner, outer = (side * 0.16, height - tilt), (side * 0.54, height + tilt)
        (left, left_v), (right, right_v) = sorted([inner, outer])
        canvas.fill(canvas.arc((left, right), (left_v, right_v), rise) - thick, colour)


def _mouth(canvas: _Canvas, happy: bool, skin: np.ndarray, rng: np.random.Generator) -> None:
    """Draws a mouth, open, corners up when happy, down when sad, mostly with teeth."""
    half, bend = rng.uniform(0.42, 0.5), rng.uniform(0.28, 0.36)
    opening = rng.uniform(0.12, 0.24)
    bend = bend if happy else -bend
    corners = rng.uniform(0.46, 0.54) - 0.45 * bend
    upper, lower = bend - opening / 2, bend + opening / 2
    lips = (0.55 * skin * (0.85, 0.5, 0.5) + (60, 12, 20)) * rng.uniform(0.85, 1.1)
    across = 1 - np.clip(canvas.u / half, -1, 1) ** 2
    above = corners + upper * across - canvas.v
    below = canvas.v - corners - lower * across
    gap = np.maximum(np.maximum(above, below), abs(canvas.u) - half)
    canvas.fill(gap, _DARK)
    canvas.fill(np.maximum(gap, canvas.ellipse(0, corners + lower, 0.18, 0.08)), _TONGUE)
    if rng.random() < 0.9:
        canvas.fill(np.maximum(gap, -above - 0.45 * opening), _WHITE)
    for rise in (upper, lower):
        edge = canvas.arc((-half, half), (corners, corners), rise)
        canvas.fill(edge - 0.036, lips)


def _photographed(
    pixels: Float[np.ndarray, "h w 3"],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """Adds light from one side, of random colour and strength, and the noise of a camera."""
    direction, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.12)
    light = 1 + strength * (np.cos(direction) * x + np.sin(direction) * y)
    light = light[..., None] * rng.uniform(0.96, 1.04) * rng.uniform(0.99, 1.01, 3)
    noise = rng.normal(0, rng.uniform(1, 4), pixels.shape)
    return np.clip(np.round(pixels * light + noise), 0, 255).astype(np.uint8)
