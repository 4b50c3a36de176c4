"""Copies of photos of training are known, and other photos are not taken for copies."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cifsel.prediction import seen
from cifsel.workdir.model_meta import SeenPhoto


def scene(number):
    """A picture of random waves. The longer ones are the stronger, as in photos."""
    rng = np.random.default_rng(number)
    waves = np.full((240, 320, 3), 128.0)
    for cells, strength in ((3, 45), (8, 15)):
        rough = rng.normal(size=(cells, cells, 3)) * strength + 128
        image = Image.fromarray(np.clip(rough, 0, 255).astype(np.uint8))
        waves += np.asarray(image.resize((320, 240), Image.Resampling.BICUBIC)) - 128.0
    return Image.fromarray(np.clip(waves, 0, 255).astype(np.uint8))


def compressed(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=20)
    return Image.open(buffer)


def trained_on(*images):
    return tuple(
        SeenPhoto(seen.digest(np.asarray(image)), 0, (1.0, 0.0), seen.look(np.asarray(image)))
        for image in images
    )


COPIES = {
    "halved": lambda image: image.resize((160, 120)),
    "tiny": lambda image: image.resize((64, 48)),
    "compressed": compressed,
    "grey": lambda image: image.convert("L"),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "cropped": lambda image: image.crop((4, 3, 316, 237)),
}


@pytest.mark.parametrize("change", COPIES)
def test_copies_are_found(change):
    images = [scene(number) for number in range(10)]
    photos = trained_on(*images)
    for image, photo in zip(images, photos, strict=True):
        copy = np.asarray(COPIES[change](image).convert("RGB"))
        assert seen.find(copy, photos) == seen.Match(photo, exact=False)
        without = tuple(dataclasses.replace(old, look="") for old in photos)
        assert seen.find(copy, without) is None
        assert seen.find(np.asarray(image), without).exact


def test_other_photos_are_not_copies():
    photos = trained_on(*map(scene, range(10)))
    assert not any(seen.find(np.asarray(scene(number)), photos) for number in range(100, 150))


def test_pictures_without_contrast_are_copies_of_none():
    flat = Image.new("RGB", (40, 30), (90, 90, 90))
    photos = trained_on(flat)
    assert photos[0].look == ""
    assert seen.find(np.asarray(flat), photos).exact
    assert seen.find(np.asarray(flat.resize((20, 15))), photos) is None
    assert seen.find(np.asarray(scene(0)), photos) is None
