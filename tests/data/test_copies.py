"""The quick search for copies gives what comparing each image with each gives."""

import io
import itertools

import numpy as np
from PIL import Image

from cifsel.data import copies


def pictures(count, seed=0, side=64):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), np.uint8)
    return [
        np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
        for image in coarse
    ]


def recompressed(image):
    stream = io.BytesIO()
    Image.fromarray(image).resize((40, 40)).save(stream, "jpeg", quality=40)
    return np.asarray(Image.open(stream))


def thumbnails(images):
    return np.stack([copies.thumbnail(image) for image in images])


def test_altered_copies_are_found_and_strangers_are_not():
    images = pictures(60)
    altered = [
        recompressed(images[3]),
        np.ascontiguousarray(images[7][:, ::-1]),
        (images[11] * 0.8).astype(np.uint8),
        images[20],
    ]
    pairs = copies.near_copies(thumbnails([*images, *altered]))
    assert pairs.tolist() == [[3, 60], [7, 61], [11, 62], [20, 63]]


def least_correlations(first, second):
    """The least correlation within nine windows, of each image with each."""
    least = np.ones((len(first), len(second)))
    for top, left in itertools.product((0, 8, 16), (0, 8, 16)):
        flat = []
        for prints in (first, second):
            window = prints[:, top : top + 16, left : left + 16].reshape(len(prints), -1)
            flat.append((window - window.mean(1, keepdims=True)) / 16)
        a, b = flat
        power = np.outer((a**2).sum(1) + 4.0**2, (b**2).sum(1) + 4.0**2)
        least = np.minimum(least, (a @ b.T + 4.0**2) / np.sqrt(power))
    return least


def pairs_by_comparing_all(prints):
    mirrored = least_correlations(prints, prints[:, :, ::-1])
    alike = np.maximum(least_correlations(prints, prints), mirrored) >= 0.985
    return np.argwhere(np.triu(alike | alike.T, 1)).tolist()


def test_the_search_loses_no_pair(monkeypatch):
    """Images between copies and strangers, in all degrees."""
    rng = np.random.default_rng(1)
    images = []
    for image in pictures(12, seed=2):
        for strength in (0, 2, 5, 8, 12, 20, 40):
            noise = np.kron(rng.normal(0, strength, (16, 16, 3)), np.ones((4, 4, 1)))
            images.append(np.clip(image + noise, 0, 255).astype(np.uint8))
    expected = pairs_by_comparing_all(thumbnails(images).astype(np.float32))
    assert 10 < len(expected) < 150
    assert copies.near_copies(thumbnails(images)).tolist() == expected
    monkeypatch.setattr(copies, "_BLOCK", 7)
    assert copies.near_copies(thumbnails(images)).tolist() == expected


def test_images_without_contrast_are_copies_of_none():
    flat = np.full((3, 32, 32), 90, np.uint8)
    assert copies.near_copies(flat).shape == (0, 2)
    assert copies.near_copies(flat[:0]).shape == (0, 2)
    assert copies.similarity(flat, np.empty((0, 2), np.int64)).shape == (0,)


def test_few_pairs_of_strangers_are_compared(monkeypatch):
    """Their number would grow with the square of the images, were all compared."""
    compared = []
    compare = copies._similarity
    monkeypatch.setattr(
        copies,
        "_similarity",
        lambda a, b, pairs: compared.append(len(pairs)) or compare(a, b, pairs),
    )
    copies.near_copies(thumbnails(pictures(400, seed=3)))
    assert sum(compared) < 400
