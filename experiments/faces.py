"""Measures in how many photos a face is found, and how far its points move.

    python -m experiments.faces --photos=FOLDER,FOLDER --others=FOLDER \
      --json=experiments/results/faces.json

Each folder of --photos has a sub-folder for each class, and a face in each photo. The photos are
turned, darkened, shrunk and so on. Points are compared with those of the unchanged photo, moved in
the same way, in parts of the distance of the eyes. --others has photos without faces, which are
also what small faces are pasted into.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cifsel.config import Parser, path
from cifsel.data import drawn_faces
from cifsel.data.photos import crops, labelled, landmarks
from cifsel.runtime import command
from cifsel.runtime.terminal import say
from cifsel.workdir import provenance

# A changed photo, and points (5, 2) of the photo -> points of the changed one.
Changed = tuple[Image.Image, Callable[[np.ndarray], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Row:
    """Faces found in photos that were changed in one way.

    Attributes:
      change: in words.
      photos: how many.
      face: in how many crop=face found a face.
      expression: in how many crop=expression did.
      moved: median of the mean distance of points from where they should be, in distances of the
        eyes. None without points to compare with.
    """

    change: str
    photos: int
    face: int
    expression: int
    moved: float | None


def turned(degrees: float) -> Callable[[Image.Image], Changed]:
    """Turns a photo about its middle."""

    def change(picture: Image.Image) -> Changed:
        middle = np.array(picture.size) / 2
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        # Pillow turns anticlockwise, and y points down.
        matrix = np.array([(cos, sin), (-sin, cos)])
        image = picture.rotate(degrees, Image.Resampling.BICUBIC)
        return image, lambda points: (points - middle) @ matrix.T + middle

    return change


def dark(picture: Image.Image) -> Changed:
    """Leaves 8 % of the light."""
    return picture.point(lambda level: round(level * 0.08)), lambda points: points


def bright(picture: Image.Image) -> Changed:
    """Doubles the light, so that the skin is mostly white."""
    return picture.point(lambda level: min(255, 2 * level)), lambda points: points


def squeezed(picture: Image.Image) -> Changed:
    """Halves the width, about as a head that is turned away."""
    width, height = picture.size
    return picture.resize((width // 2, height)), lambda points: points * (0.5, 1.0)


def half_hidden(picture: Image.Image) -> Changed:
    """Hides the right half."""
    width, height = picture.size
    covered = picture.copy()
    covered.paste((90, 90, 90), (width // 2, 0, width, height))
    return covered, lambda points: points


def close(picture: Image.Image) -> Changed:
    """Cuts an eighth off on each side, so that the face fills the photo."""
    width, height = picture.size
    cut = width // 8, height // 8
    inner = picture.crop((*cut, width - cut[0], height - cut[1]))
    return inner, lambda points: points - cut


def blurred(picture: Image.Image) -> Changed:
    """Leaves 48 pixels of each side."""
    small = picture.resize((48, 48), Image.Resampling.BOX)
    return small.resize(picture.size), lambda points: points


def pasted(others: Sequence[np.ndarray], share: float) -> Callable[[Image.Image], Changed]:
    """Pastes a photo into one of something else, as a part of its shorter side."""
    rng = np.random.default_rng(0)

    def change(picture: Image.Image) -> Changed:
        around = Image.fromarray(others[int(rng.integers(len(others)))])
        side = round(share * min(around.size))
        corner = rng.integers(0, np.array(around.size) - side)
        image = around.copy()
        image.paste(picture.resize((side, side)), tuple(corner.tolist()))
        scale = side / np.array(picture.size)
        return image, lambda points: points * scale + corner

    return change


def found(images: Sequence[np.ndarray]) -> tuple[list[bool], list[np.ndarray | None]]:
    """In which images crop=face finds a face, and the points of the others' faces."""
    names = [""] * len(images)
    faces = crops.Cropper("face", fallback=True).show(images, names, 16).faces
    marked = [landmarks.find_face(image) for image in images]
    points = [None if face is None else face.points for face in marked]
    return [face is not None for face in faces], points


def rows_of(images: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> Iterator[Row]:
    """Yields a row for each change."""
    _, unchanged = found(images)
    changes: dict[str, Callable[[Image.Image], Changed]] = {
        "none": lambda picture: (picture, lambda points: points),
        "turned by 20 degrees": turned(20),
        "turned by 45 degrees": turned(45),
        "turned by 90 degrees": turned(90),
        "8 % of the light": dark,
        "twice the light": bright,
        "half the width": squeezed,
        "right half hidden": half_hidden,
        "an eighth cut off each side": close,
        "48 pixels": blurred,
        "pasted, half the shorter side": pasted(others, 0.5),
        "pasted, a quarter of the shorter side": pasted(others, 0.25),
    }
    for name, change in changes.items():
        changed = [change(Image.fromarray(image)) for image in images]
        faces, points = found([np.asarray(picture) for picture, _ in changed])
        errors = [
            np.linalg.norm(after - move(before), axis=1).mean()
            / np.linalg.norm(move(before)[1] - move(before)[0])
            for before, after, (_, move) in zip(unchanged, points, changed, strict=True)
            if before is not None and after is not None
        ]
        yield Row(
            name,
            len(images),
            sum(faces),
            sum(after is not None for after in points),
            float(np.median(errors)) if errors else None,
        )
    for name, pictures in (
        ("drawn faces", drawn_faces.draw_faces().images),
        ("no face: ants and bees", others),
    ):
        faces, points = found(pictures)
        marked = sum(own is not None for own in points)
        yield Row(name, len(pictures), sum(faces), marked, None)


def measure(flags: Any) -> None:
    """Measures all and writes the record."""
    read = [labelled.load_photos(folder) for folder in flags.photos.split(",")]
    others = labelled.load_photos(flags.others, skip_unreadable=True).images[:: flags.step]
    images = [image for own in read for image in own.images][:: flags.every]
    rows = []
    for row in rows_of(images, others):
        say(f"{row.change}: face {row.face}, expression {row.expression} of {row.photos}")
        rows.append(dataclasses.asdict(row))
    if flags.json:
        # Without the folders of this machine.
        words = "python -m experiments.faces --photos=FOLDER,FOLDER --others=FOLDER"
        words += f" --every={flags.every} --step={flags.step}"
        record = {**provenance.environment().to_json(), "command": words, "rows": rows}
        Path(flags.json).write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Parses the command line and measures."""
    parser = Parser("experiments.faces", __doc__)
    add = parser.add_argument
    add("--photos", required=True, metavar="FOLDERS", help="folders with commas between them")
    add("--others", required=True, type=path, metavar="FOLDER", help="photos without faces")
    add("--every", type=int, default=1, metavar="N", help="every N-th photo, default: 1")
    add("--step", type=int, default=4, metavar="N", help="every N-th of them, default: 4")
    add("--json", type=path, metavar="FILE", help="the record, default: none")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: measure(flags))


if __name__ == "__main__":
    main()
