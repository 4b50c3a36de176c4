r"""Draws a folder of many images, to see how a run does with more of them than memory holds.

    python -m experiments.robustness.draw_folder --images=100000 --output=/tmp/many
    python -m experiments.robustness.least_memory --gigabytes 4 -- \
        --config=configs/folder.py:finetune --config.data=/tmp/many --workdir=WORKDIR

The images are blobs in ten tints, which are the classes. No two are alike. They are JPEG files.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from cifsel.config import Parser, path
from cifsel.runtime import command
from cifsel.runtime.bars import tracked

_CLASSES, _BLOBS = 10, 8  # Blobs along each side


def draw(output: Path, images: int, side: int) -> None:
    """Draws the images, each class in a folder of its own."""
    tints = np.random.default_rng(0).uniform(0, 255, (_CLASSES, 3))
    folders = [output / f"tint-{label}" for label in range(_CLASSES)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for number in tracked(range(images), "drawing"):
        label = number % _CLASSES
        blobs = rng.uniform(0, 255, (_BLOBS, _BLOBS, 3))
        pixels = np.round(0.6 * blobs + 0.4 * tints[label]).astype(np.uint8)
        image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        image.save(folders[label] / f"{number:06d}.jpg", quality=85)


def main() -> None:
    """Parses the command line and draws."""
    parser = Parser("experiments.robustness.draw_folder", __doc__)
    add = parser.add_argument
    add("--images", type=int, default=100_000, metavar="N", help="number, default: 100000")
    add("--side", type=int, default=256, metavar="PIXELS", help="width and height, default: 256")
    add("--output", required=True, type=path, metavar="DIR", help="folder for the images")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: draw(Path(flags.output), flags.images, flags.side))


if __name__ == "__main__":
    main()
