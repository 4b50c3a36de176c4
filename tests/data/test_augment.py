import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cifsel.data import augment
from cifsel.data.augment import Policy

RNG = np.random.default_rng(0)
# Smooth enough for interpolation to be meaningful, no symmetry, all of [0, 255] in use.
NOISE = RNG.integers(0, 256, (6, 32, 32, 3)).astype(np.float32)
SMOOTH = ndimage.gaussian_filter(NOISE, (0, 2, 2, 0), mode="wrap")
SMOOTH = (SMOOTH - SMOOTH.min()) * 255 / np.ptp(SMOOTH)
EVERYTHING = Policy(flip=True, shift=4, rotate=0.1, zoom=0.2, contrast=0.3, erase=0.5)
KEY = jax.random.key(0)

# Called as a training step would call them, which is also quicker to test.
augmented = jax.jit(augment.augment, static_argnums=(2, 3, 4))
mixed = jax.jit(augment.mix, static_argnums=3)
warped = jax.jit(augment.warp)


@pytest.mark.parametrize(
    "field", ["shift", "rotate", "zoom", "contrast", "mixup", "cutmix", "erase"]
)
@pytest.mark.parametrize("value", [-0.1, 1e4, math.nan])
def test_policy_names_the_field_that_is_out_of_range(field, value):
    with pytest.raises(ValueError, match=rf"{field} is {value}"):
        Policy(**{field: value})


def test_policy_wants_whole_pixels():
    with pytest.raises(ValueError, match=r"shift is 1\.5"):
        Policy(shift=1.5)


# --- resize


@pytest.mark.parametrize("method", augment.METHODS)
def test_resize_to_the_same_size_changes_nothing(method):
    np.testing.assert_array_equal(augment.resize(jnp.asarray(NOISE), 32, method), NOISE)


@pytest.mark.parametrize("factor", [2, 3, 4, 7])
def test_nearest_repeats_pixels(factor):
    expected = NOISE.repeat(factor, 1).repeat(factor, 2)
    result = augment.resize(jnp.asarray(NOISE), 32 * factor, "nearest")
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [96, 75, 128, 20, 8])
def test_resize_agrees_with_pillow(method, size):
    # Pillow smooths when it shrinks, by the same rule, and resizes float images exactly.
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[method]
    channels = [
        [
            np.asarray(Image.fromarray(image[..., c]).resize((size, size), resample))
            for c in range(3)
        ]
        for image in SMOOTH
    ]
    expected = np.clip(np.moveaxis(np.array(channels), 1, -1), 0, 255)
    result = augment.resize(jnp.asarray(SMOOTH), size, method)
    np.testing.assert_allclose(result, expected, atol=0.6)
    assert np.abs(np.asarray(result) - expected).mean() < 0.05


def test_resize_without_smoothing_would_alias():
    stripes = jnp.tile(jnp.array([0.0, 255.0]), 16)[None, None, :, None] * jnp.ones((1, 32, 1, 3))
    small = augment.resize(stripes, 8, "bilinear")
    assert float(small[:, 2:-2, 2:-2].std()) < 15


def test_bicubic_overshoot_is_clipped():
    edge = jnp.zeros((1, 8, 8, 3)).at[:, :, 4:].set(255.0)
    result = augment.resize(edge, 32, "bicubic")
    assert float(result.min()) == 0.0
    assert float(result.max()) == 255.0


def test_resize_takes_uint8_and_makes_squares():
    images = jnp.asarray(RNG.integers(0, 256, (2, 20, 30, 3)), jnp.uint8)
    result = augment.resize(images, 24, "bilinear")
    assert result.shape == (2, 24, 24, 3)
    assert result.dtype == jnp.float32


def test_unknown_method():
    with pytest.raises(ValueError, match=r"'lanczos'.*nearest, bilinear, bicubic"):
        augment.resize(jnp.asarray(NOISE), 64, "lanczos")


# --- shift, warp, contrast, each against an independent reference


def test_shift_is_a_crop_of_the_reflected_image():
    offsets = RNG.integers(-4, 5, (6, 2))
    result = augment.shift(jnp.asarray(NOISE), jnp.asarray(offsets), 4)
    for image, (down, right), shifted in zip(NOISE, offsets, np.asarray(result), strict=True):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        crop = padded[4 + down : 36 + down, 4 + right : 36 + right]
        np.testing.assert_array_equal(shifted, crop)


def test_shift_must_fit():
    with pytest.raises(ValueError, match="shift is 8: images of 8x8"):
        augment.augment(KEY, jnp.zeros((1, 8, 8, 3)), Policy(shift=8), 8, "nearest")


def test_warp_by_nothing_is_exact():
    result = warped(jnp.asarray(NOISE), jnp.zeros(6), jnp.ones(6))
    np.testing.assert_allclose(result, NOISE, atol=1e-3)


def test_warp_by_quarter_turns_is_rot90():
    for turns in (1, 2, 3):
        result = warped(jnp.asarray(NOISE), jnp.full(6, turns * math.pi / 2), jnp.ones(6))
        np.testing.assert_allclose(result, np.rot90(NOISE, turns, (1, 2)), atol=0.02)


@pytest.mark.parametrize("shape", [(32, 32), (17, 24)])
def test_warp_agrees_with_scipy(shape):
    images = NOISE[:, : shape[0], : shape[1]]
    angles = np.array([0.0, 0.3, -0.6, 2.0, 0.1, -3.0])
    scales = np.array([0.8, 1.2, 1.0, 0.5, 2.5, 1.9])
    result = warped(jnp.asarray(images), jnp.asarray(angles), jnp.asarray(scales))
    centre = (np.array(shape) - 1) / 2
    for image, angle, scale, found in zip(images, angles, scales, result, strict=True):
        sine, cosine = math.sin(angle), math.cos(angle)
        matrix = scale * np.array([[cosine, sine], [-sine, cosine]])
        for channel in range(3):
            expected = ndimage.affine_transform(
                image[..., channel], matrix, centre - matrix @ centre, order=1, mode="reflect"
            )
            np.testing.assert_allclose(found[..., channel], expected, atol=0.02)


def keras_layers():
    return pytest.importorskip("keras").layers


def test_rotation_is_that_of_keras():
    # TensorFlow's warp, which Keras calls, pins its own idea of sign, centre and reflection.
    layer = keras_layers().RandomRotation((0.07, 0.07))
    expected = np.asarray(layer(SMOOTH, training=True))
    result = warped(jnp.asarray(SMOOTH), jnp.full(6, 0.07 * 2 * math.pi), jnp.ones(6))
    np.testing.assert_allclose(result, expected, atol=0.05)


@pytest.mark.parametrize("factor", [-0.2, 0.2])
def test_zoom_is_that_of_keras(factor):
    layer = keras_layers().RandomZoom((factor, factor))
    expected = np.asarray(layer(SMOOTH, training=True))
    result = warped(jnp.asarray(SMOOTH), jnp.zeros(6), jnp.full(6, 1 + factor))
    np.testing.assert_allclose(result, expected, atol=0.05)


def test_rotation_and_zoom_in_one_come_near_the_two_layers_of_keras():
    layers = keras_layers()
    rotated = layers.RandomRotation((0.07, 0.07))(SMOOTH, training=True)
    expected = np.asarray(layers.RandomZoom((-0.2, -0.2))(rotated, training=True))
    result = warped(jnp.asarray(SMOOTH), jnp.full(6, 0.07 * 2 * math.pi), jnp.full(6, 0.8))
    # Interpolated once instead of twice.
    assert np.abs(np.asarray(result) - expected).mean() < 1.5


def test_contrast_is_that_of_keras(monkeypatch):
    layer = keras_layers().RandomContrast(0.5)
    factors = RNG.uniform(0.5, 1.5, 6).astype(np.float32)
    expected = layer.transform_images(
        NOISE, {"contrast_factor": factors[:, None, None, None]}, training=True
    )
    result = augment.adjust_contrast(jnp.asarray(NOISE), jnp.asarray(factors))
    np.testing.assert_allclose(result, np.asarray(expected), atol=0.01)


# --- the ranges that are drawn from


def many(policy, image, count=400, size=None, seed=0):
    images = jnp.broadcast_to(jnp.asarray(image), (count, *image.shape))
    key = jax.random.key(seed)
    return np.asarray(augmented(key, images, policy, size or image.shape[0], "bilinear"))


def test_half_of_the_images_are_mirrored_and_the_others_untouched():
    image = NOISE[0, :8, :8]
    result = many(Policy(flip=True), image, 1000)
    mirrored = (result == image[:, ::-1]).all((1, 2, 3))
    assert (mirrored | (result == image).all((1, 2, 3))).all()
    assert 440 < mirrored.sum() < 560  # 3.8 standard deviations


def test_every_shift_occurs_about_equally_often():
    image = np.arange(64, dtype=np.float32).reshape(8, 8, 1).repeat(3, 2)
    result = many(Policy(shift=1), image, 1800)
    centres = result[:, 3, 3, 0]
    values, counts = np.unique(centres, return_counts=True)
    assert set(values) == {(3 + dy) * 8 + 3 + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    assert counts.min() > 140  # of 200 expected


def test_contrast_and_zoom_and_rotation_cover_their_ranges():
    ramp = np.linspace(-60, 60, 33, dtype=np.float32)
    x = 127 + np.broadcast_to(ramp[None, :, None], (33, 33, 3))
    # On a ramp along x, the slopes at the centre give away what was drawn.
    centre = np.s_[:, 16, 16, 0]

    def slopes(policy):
        result = many(policy, x, 2000)
        right = result[:, 16, 17, 0] - result[centre]
        down = result[:, 17, 16, 0] - result[centre]
        return right / 3.75, down / 3.75

    factor, _ = slopes(Policy(contrast=0.3))
    assert 0.69 < factor.min() < 0.72
    assert 1.28 < factor.max() < 1.31
    scale, down = slopes(Policy(zoom=0.2))
    assert 0.79 < scale.min() < 0.82
    assert 1.18 < scale.max() < 1.21
    np.testing.assert_allclose(down, 0, atol=1e-3)
    right, down = slopes(Policy(rotate=0.1))
    turns = np.arctan2(-down, right) / (2 * math.pi)
    assert -0.101 < turns.min() < -0.097
    assert 0.097 < turns.max() < 0.101
    np.testing.assert_allclose(np.hypot(right, down), 1, atol=1e-3)


def test_erasing_fills_one_rectangle_with_the_mean():
    image = NOISE[0]
    result = many(Policy(erase=0.5), image, 600)
    changed = (result != image).any(-1)
    hit = changed.any((1, 2))
    assert 240 < hit.sum() < 360
    areas = []
    for erased, mask in zip(result[hit], changed[hit], strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.ix_(np.arange(rows[0], rows[-1] + 1), np.arange(columns[0], columns[-1] + 1))
        assert mask[box].all()  # a filled rectangle, and nothing outside it
        assert mask[box].size == mask.sum()
        np.testing.assert_allclose(
            erased[box], np.broadcast_to(image.mean((0, 1)), erased[box].shape), rtol=1e-5
        )
        areas.append(mask.mean())
    # Sides are rounded to whole pixels.
    assert 0.01 < min(areas) < 0.03
    assert 0.18 < max(areas) < 0.22


# --- augment as a whole


@pytest.mark.parametrize("method", augment.METHODS)
def test_empty_policy_is_resize(method):
    images = jnp.asarray(NOISE, jnp.uint8)
    np.testing.assert_array_equal(
        augmented(KEY, images, Policy(), 48, method), augment.resize(images, 48, method)
    )


@pytest.mark.parametrize(
    "policy",
    [
        Policy(flip=True),
        Policy(shift=4),
        Policy(rotate=1.0),
        Policy(zoom=0.5),
        Policy(contrast=1.0),
        Policy(erase=1.0),
        EVERYTHING,
    ],
)
def test_results_stay_in_range_with_the_right_shape(policy):
    extreme = jnp.asarray(RNG.choice([0, 255], (16, 32, 32, 3)), jnp.uint8)
    result = augmented(KEY, extreme, policy, 40, "bicubic")
    assert result.shape == (16, 40, 40, 3)
    assert result.dtype == jnp.float32
    assert float(result.min()) >= 0
    assert float(result.max()) <= 255


def test_augment_repeats_itself_for_a_key():
    images = jnp.asarray(NOISE)
    first = augmented(KEY, images, EVERYTHING, 40, "bilinear")
    np.testing.assert_array_equal(first, augmented(KEY, images, EVERYTHING, 40, "bilinear"))
    other = augmented(jax.random.key(1), images, EVERYTHING, 40, "bilinear")
    assert (np.asarray(other) != np.asarray(first)).any((1, 2, 3)).all()


def test_augment_does_the_same_without_jit():
    arguments = KEY, jnp.asarray(NOISE), Policy(flip=True, rotate=0.1, zoom=0.2), 40, "bilinear"
    np.testing.assert_allclose(augment.augment(*arguments), augmented(*arguments), atol=0.05)


def test_images_draw_their_own_numbers():
    images = jnp.broadcast_to(jnp.asarray(SMOOTH[0]), NOISE.shape)
    result = np.asarray(augmented(KEY, images, EVERYTHING, 40, "bilinear"))
    assert len({image.tobytes() for image in result}) == len(NOISE)


def test_an_image_does_not_depend_on_the_others():
    images = jnp.asarray(NOISE)
    changed = images.at[1:].set(0.0)
    one, other = (
        augmented(KEY, batch, EVERYTHING, 40, "bilinear")[0] for batch in (images, changed)
    )
    np.testing.assert_allclose(one, other, atol=1e-3)


# --- mix

# Few policies and one shape, since each combination is compiled.
MIXUP, CUTMIX, BOTH = Policy(mixup=1.0), Policy(cutmix=1.0), Policy(mixup=1.0, cutmix=1.0)
# The value of every pixel is the index of its image: a mixed pixel tells where it came from.
CODED = jnp.broadcast_to(jnp.arange(64.0)[:, None, None, None], (64, 20, 24, 3))
IDENTITY = jnp.eye(64)


def test_no_mixing_is_no_change():
    images, targets = augment.mix(KEY, CODED, IDENTITY, EVERYTHING)
    assert images is CODED
    assert targets is IDENTITY


# Beta(.05, .05) puts nearly everything at its ends, where its sampling can go wrong.
@pytest.mark.parametrize("policy", [MIXUP, CUTMIX, Policy(mixup=0.05, cutmix=0.05)])
def test_targets_remain_distributions_and_images_in_range(policy):
    noise = jnp.asarray(RNG.choice([0.0, 255.0], CODED.shape), jnp.float32)
    for seed in range(4):
        images, targets = mixed(jax.random.key(seed), noise, IDENTITY, policy)
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-5)
        assert float(targets.min()) >= 0
        assert float(images.min()) >= 0
        assert float(images.max()) <= 255.001
        assert bool(jnp.isfinite(images).all())


def test_mixup_mixes_pixels_and_targets_alike():
    images, targets = mixed(KEY, CODED, IDENTITY, MIXUP)
    # Each image is flat, with the value that its targets' weights predict.
    assert float(images.std((1, 2)).max()) < 1e-3
    np.testing.assert_allclose(images[:, 0, 0, 0], targets @ jnp.arange(64.0), atol=1e-3)


def test_cutmix_targets_are_the_shares_of_the_pixels():
    images, targets = mixed(KEY, CODED, IDENTITY, CUTMIX)
    images, targets = np.asarray(images)[..., 0], np.asarray(targets)
    pasted = 0
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        shares = np.bincount(image.astype(int).ravel(), minlength=64) / image.size
        np.testing.assert_allclose(target, shares, atol=1e-5)
        mask = image != index
        if mask.any():  # one whole rectangle
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            pasted += 1
    assert pasted > 32


def test_partners_are_a_permutation():
    _, targets = mixed(KEY, CODED, IDENTITY, MIXUP)
    foreign = np.asarray(targets) * (1 - np.eye(64)) > 1e-6
    assert foreign.sum() > 50
    assert foreign.sum(0).max() == foreign.sum(1).max() == 1


def test_mixing_weights_are_beta_distributed():
    count = 4096
    images = jnp.broadcast_to(jnp.arange(2.0)[:, None], (2, count // 2)).reshape(count, 1, 1, 1)
    _, targets = mixed(KEY, images, jnp.eye(count), Policy(mixup=0.4))
    own = np.diag(np.asarray(targets))
    assert abs(own.mean() - 0.5) < 0.03
    assert abs(own.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01  # variance of Beta(a, a)


def test_with_both_each_batch_does_one_or_the_other():
    flat = 0
    for seed in range(30):
        images, _ = mixed(jax.random.key(seed), CODED, IDENTITY, BOTH)
        spread = np.asarray(images.std((1, 2))).max(-1)
        assert (spread < 1e-3).all() or (np.asarray(images) == np.round(images)).all()
        flat += (spread < 1e-3).all()
    assert 5 < flat < 25


def test_mix_repeats_itself_for_a_key():
    first, again, other = (mixed(jax.random.key(k), CODED, IDENTITY, BOTH) for k in (0, 0, 1))
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert (np.asarray(one) != np.asarray(three)).any()
