"""A model to which photos are as happy as they are bright, and photos of one grey level each."""

import json

import numpy as np
from PIL import Image

from cifsel.data.photos import crops
from cifsel.prediction import predictor


def brightness(shown):
    """Logits of a model to which photos are as happy as they are bright."""
    share = shown.mean((1, 2, 3)) / 255
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.stack([np.log(share), np.log(1 - share)], 1)


class Cropper:
    """Finds a face in everything that is not of grey level 7."""

    def show(self, images, names, size):
        faces = tuple(None if (image == 7).all() else (0, 0, 1, 1) for image in images)
        return crops.Shown(crops.Cropper("none").show(images, names, size).images, faces)


def made(checkpoint, *_):
    """Stands in for what is restored; `--checkpoint=task1` gives one of task 1."""
    return predictor.Predictor(
        task=checkpoint,
        class_names=("happy", "sad"),
        sure_from=0.6,
        size=8,
        detail=8,
        temperature=1.0,
        cropper=Cropper(),
        needs_face=True,
        logits=brightness,
        evidence=lambda shown, classes: np.full((1, 1, 1), 1 - int(classes[0]), np.float32),
    )


def put(folder, **grey):
    """Writes photos of one grey level each; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, level in grey.items():
        paths.append(str(folder / f"{name}.png"))
        Image.new("RGB", (16, 12), (level,) * 3).save(paths[-1])
    return paths


def names_of(out):
    return [record["photo"] for record in json.loads(out)]


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)
