"""Draws ten animals, for people who want to ask a published model without a photo of their own.

    python -m experiments.draw_animals

The pictures are experiments/models/drawn/CLASS.webp. They were drawn once, before any model was
asked about them. `experiments.model_card` says what the models answer.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from cifsel.config import arguments
from cifsel.runtime import command
from experiments.model_card import DRAWN

Colour = tuple[int, int, int]
Point = tuple[float, float]

_SIDE = 512  # pixels that are drawn on
_STORED_SIDE = 224
_MIDDLE = _SIDE // 2
_BLACK, _WHITE = (30, 22, 18), (248, 245, 240)
_SIDES = (-1, 1)  # left and right of the middle


class Paper(NamedTuple):
    """A picture, and the pen that draws on it."""

    image: Image.Image
    pen: ImageDraw.ImageDraw

    def oval(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Draws a filled ellipse around (x, y). Width and height are half of its own."""
        self.pen.ellipse([x - width, y - height, x + width, y + height], fill=colour)

    def line(self, points: Sequence[Point], colour: Colour, width: int) -> None:
        """Draws a line through points."""
        self.pen.line(points, fill=colour, width=width, joint="curve")

    def area(self, points: Sequence[Point], colour: Colour) -> None:
        """Draws a filled polygon."""
        self.pen.polygon(points, fill=colour)


def _paper(top: Colour, bottom: Colour) -> Paper:
    """A picture whose colour goes from one to the other."""
    image = Image.new("RGB", (_SIDE, _SIDE))
    paper = Paper(image, ImageDraw.Draw(image))
    for y in range(_SIDE):
        share = y / _SIDE
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        paper.line([(0, y), (_SIDE, y)], (red, green, blue), 1)
    return paper


def _beetle() -> Paper:
    """A ladybird on a leaf."""
    paper = _paper((170, 205, 110), (110, 160, 60))
    leaf = [(0, 512), (40, 200), (256, 120), (500, 190), (512, 512)]
    paper.area(leaf, (90, 150, 50))
    for side in _SIDES:
        for y in (210, 290, 370):
            leg = [(100, y), (185, y - 30), (215, y + 10)]
            paper.line([(_MIDDLE + side * x, y) for x, y in leg], _BLACK, 14)
    paper.oval(256, 150, 70, 55, _BLACK)
    for side in _SIDES:
        feeler = [(30, 110), (60, 70), (90, 60)]
        paper.line([(_MIDDLE + side * x, y) for x, y in feeler], _BLACK, 8)
        paper.oval(_MIDDLE + side * 38, 140, 16, 14, _WHITE)
    paper.oval(256, 290, 140, 155, (205, 30, 25))
    paper.line([(256, 140), (256, 445)], _BLACK, 8)
    for side in _SIDES:
        for x, y, radius in ((60, 220, 26), (85, 310, 28), (45, 385, 24)):
            paper.oval(_MIDDLE + side * x, y, radius, radius, _BLACK)
    paper.oval(200, 215, 30, 18, (235, 110, 100))
    return paper


def _aquarium_fish() -> Paper:
    """An orange fish with white bands among water plants."""
    paper = _paper((30, 110, 190), (10, 50, 120))
    for x, height in ((60, 200), (110, 130), (430, 180), (470, 110)):
        plant = [(x, 512), (x + 20, 512 - height // 2), (x, 512 - height)]
        paper.line(plant, (30, 130, 60), 20)
    paper.area([(370, 256), (490, 150), (460, 256), (490, 370)], (240, 110, 20))
    paper.area([(200, 170), (260, 90), (330, 180)], (235, 95, 15))
    paper.area([(220, 340), (260, 410), (310, 335)], (235, 95, 15))
    paper.oval(235, 256, 170, 100, (250, 130, 30))
    for x in (190, 290):
        band = [(-18, 165), (18, 165), (24, 256), (18, 348), (-18, 348), (-10, 256)]
        paper.area([(x + shift, y) for shift, y in band], _WHITE)
    paper.oval(120, 230, 26, 26, _WHITE)
    paper.oval(116, 230, 14, 14, _BLACK)
    paper.line([(68, 280), (95, 295), (115, 290)], (120, 50, 10), 7)
    for x, y, radius in ((60, 120, 14), (90, 80, 9), (50, 60, 7)):
        paper.oval(x, y, radius, radius, (150, 200, 240))
    return paper


def _spider() -> Paper:
    """A spider on a wall."""
    paper = _paper((225, 220, 205), (205, 198, 180))
    for side in _SIDES:
        for start, knee, foot in (
            (230, 110, 66),
            (236, 170, 186),
            (243, 300, 326),
            (250, 340, 456),
        ):
            leg = [(40, start), (150, knee), (225, foot)]
            paper.line([(_MIDDLE + side * x, y) for x, y in leg], _BLACK, 14)
    paper.oval(256, 330, 85, 100, (45, 35, 30))
    paper.oval(256, 215, 55, 50, _BLACK)
    paper.oval(256, 320, 30, 55, (110, 80, 50))
    for side in _SIDES:
        paper.oval(_MIDDLE + side * 16, 185, 8, 8, (190, 180, 160))
    return paper


def _butterfly() -> Paper:
    """An orange butterfly with black veins over grass."""
    paper = _paper((150, 200, 120), (90, 150, 70))
    wings = (
        ([(0, 230), (60, 90), (210, 60), (220, 200), (120, 270)], _BLACK),
        ([(14, 225), (75, 108), (190, 84), (198, 190), (115, 250)], (240, 130, 20)),
        ([(0, 260), (150, 270), (170, 390), (70, 420)], _BLACK),
        ([(12, 272), (138, 284), (150, 375), (75, 398)], (235, 120, 15)),
    )
    spots = ((205, 80), (212, 120), (210, 165), (160, 330), (140, 385))
    for side in _SIDES:
        for points, colour in wings:
            paper.area([(_MIDDLE + side * x, y) for x, y in points], colour)
        for x, y in ((75, 108), (140, 96), (198, 130), (170, 220)):
            paper.line([(_MIDDLE + side * 10, 235), (_MIDDLE + side * x, y)], _BLACK, 8)
        for x, y in spots:
            paper.oval(_MIDDLE + side * x, y, 8, 8, _WHITE)
        feeler = [(0, 180), (30, 110), (55, 90)]
        paper.line([(_MIDDLE + side * x, y) for x, y in feeler], _BLACK, 6)
    paper.oval(256, 280, 16, 110, _BLACK)
    return paper


def _snail() -> Paper:
    """A snail in the grass."""
    paper = _paper((190, 215, 170), (120, 165, 90))
    paper.pen.rectangle([0, 390, 512, 512], fill=(105, 140, 70))
    body = [(60, 400), (90, 330), (110, 250), (150, 250), (160, 340), (420, 350), (480, 400)]
    paper.area(body, (190, 160, 110))
    for x in (105, 150):
        paper.line([(x, 260), (x - 15, 190)], (180, 150, 100), 12)
        paper.oval(x - 15, 185, 11, 11, (70, 55, 35))
    paper.oval(300, 265, 140, 125, (165, 105, 50))
    angles = [step / 12 for step in range(144)]
    spiral = [
        (300 + (8 + 11 * angle) * math.cos(angle), 268 + (8 + 10 * angle) * math.sin(angle))
        for angle in angles
    ]
    paper.line(spiral, (95, 55, 25), 14)
    return paper


def _turtle() -> Paper:
    """A turtle on sand, from above."""
    paper = _paper((215, 200, 160), (190, 170, 120))
    for x, y in ((120, 190), (380, 190), (130, 380), (370, 380)):
        paper.oval(x, y, 62, 44, (120, 140, 80))
    paper.oval(256, 95, 46, 56, (130, 150, 85))
    paper.area([(240, 430), (272, 430), (256, 490)], (120, 140, 80))
    paper.oval(256, 285, 150, 165, (70, 85, 45))
    paper.oval(256, 285, 130, 145, (105, 115, 55))
    plates = ((256, 200), (256, 290), (256, 380), (170, 240), (342, 240), (170, 335), (342, 335))
    for x, y in plates:
        paper.pen.regular_polygon((x, y, 46), 6, fill=(85, 75, 40), outline=(150, 140, 80), width=5)
    for side in _SIDES:
        paper.oval(_MIDDLE + side * 22, 80, 7, 7, _BLACK)
    return paper


def _crab() -> Paper:
    """A red crab on sand."""
    paper = _paper((225, 205, 165), (205, 180, 130))
    for side in _SIDES:
        for bend in (0, 45, 90):
            leg = [(110, 300 + bend // 2), (190, 280 + bend), (220, 350 + bend)]
            paper.line([(_MIDDLE + side * x, y) for x, y in leg], (190, 50, 30), 16)
        arm = [(110, 260), (185, 200), (170, 130)]
        paper.line([(_MIDDLE + side * x, y) for x, y in arm], (205, 60, 35), 26)
        paper.oval(_MIDDLE + side * 160, 105, 50, 60, (215, 65, 40))
        gap = [(160, 120), (135, 30), (170, 30)]
        paper.area([(_MIDDLE + side * x, y) for x, y in gap], (215, 195, 155))
        stalk = [(35, 220), (40, 170)]
        paper.line([(_MIDDLE + side * x, y) for x, y in stalk], (190, 50, 30), 10)
        paper.oval(_MIDDLE + side * 40, 165, 13, 13, _BLACK)
    paper.oval(256, 290, 135, 90, (215, 65, 40))
    paper.oval(256, 260, 100, 40, (230, 95, 65))
    return paper


def _whale() -> Paper:
    """A whale at the surface of the sea."""
    paper = _paper((190, 215, 235), (150, 190, 220))
    paper.pen.rectangle([0, 260, 512, 512], fill=(20, 70, 120))
    back = [(40, 300), (90, 210), (220, 170), (340, 200), (420, 270), (500, 230), (470, 300)]
    belly = [(505, 340), (410, 330), (300, 350), (120, 350)]
    paper.area(back + belly, (35, 45, 60))
    paper.area([(60, 320), (140, 330), (260, 335), (200, 352), (110, 352)], (200, 205, 210))
    paper.oval(110, 285, 8, 8, _WHITE)
    for y in range(360, 512, 30):
        wave = [(0, y), (130, y + 8), (260, y - 4), (400, y + 8), (512, y)]
        paper.line(wave, (45, 100, 150), 5)
    return paper


def _bee() -> Paper:
    """A bee on a white flower."""
    paper = _paper((250, 225, 120), (240, 190, 60))
    for step in range(10):
        angle = step * math.pi / 5
        paper.oval(256 + 190 * math.cos(angle), 330 + 190 * math.sin(angle), 90, 70, _WHITE)
    paper.oval(256, 330, 110, 90, (225, 150, 30))
    for x in (0, 110):
        paper.area([(250, 200), (200 + x, 70), (300 + x, 60), (330, 190)], (215, 225, 235))
    for x in (190, 240, 290):
        paper.line([(x, 290), (x - 15, 340)], _BLACK, 9)
    paper.oval(290, 240, 120, 62, (225, 160, 30))
    for x in (250, 300, 350):
        paper.pen.rectangle([x - 14, 185, x + 14, 297], fill=_BLACK)
    paper.oval(160, 235, 58, 55, (120, 80, 30))
    paper.oval(100, 240, 34, 34, _BLACK)
    paper.line([(90, 215), (60, 180)], _BLACK, 7)
    return paper


def _snake() -> Paper:
    """A green snake on sand."""
    paper = _paper((210, 190, 140), (185, 160, 105))
    steps = [step / 80 for step in range(81)]
    spine = [(60 + 390 * step, 330 + 110 * math.sin(step * 7)) for step in steps]
    for x, y in spine:
        paper.oval(x, y, 34, 34, (75, 95, 40))
    for x, y in spine[::8]:
        paper.oval(x, y, 20, 20, (150, 130, 60))
    x, y = spine[0]
    paper.oval(x, y - 30, 46, 34, (75, 95, 40))
    paper.oval(x - 20, y - 40, 7, 7, (240, 220, 60))
    paper.line([(x - 44, y - 28), (x - 58, y - 20)], (190, 30, 30), 5)
    return paper


# By the names of CIFAR-100's classes.
ANIMALS: dict[str, Callable[[], Paper]] = {
    "aquarium_fish": _aquarium_fish,
    "bee": _bee,
    "beetle": _beetle,
    "butterfly": _butterfly,
    "crab": _crab,
    "snail": _snail,
    "snake": _snake,
    "spider": _spider,
    "turtle": _turtle,
    "whale": _whale,
}


def write() -> None:
    """Draws all animals."""
    DRAWN.mkdir(parents=True, exist_ok=True)
    for name, draw in ANIMALS.items():
        picture = draw().image.resize((_STORED_SIDE, _STORED_SIDE), Image.Resampling.LANCZOS)
        picture.save(DRAWN / f"{name}.webp", quality=90)


def main() -> None:
    """Parses the command line and draws."""
    arguments.Parser("experiments.draw_animals", __doc__).parse_args()
    command.start_terminal()
    command.guarded(write)


if __name__ == "__main__":
    main()
