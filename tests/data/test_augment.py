import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cifsel.data import augment, transforms
from cifsel.data.augment import Policy

RNG = np.random.default_rng(0)
# Smooth enough for interpolation to be meaningful, no symmetry, all of [0, 255] in use.
NOISE = RNG.integers(0, 256, (16, 32, 32, 3)).astype(np.float32)
SMOOTH = ndimage.gaussian_filter(NOISE, (0, 2, 2, 0), mode="wrap")
SMOOTH = (SMOOTH - SMOOTH.min()) * 255 / np.ptp(SMOOTH)
EVERYTHING = Policy(flip=True, shift=4, rotate=0.1, zoom=0.2, contrast=0.3, erase=0.5)
KEY = jax.random.key(0)

# Called as a training step would call them, which is also quicker to test.
augmented = jax.jit(augment.augment_images, static_argnums=(2, 3, 4))
mixed = jax.jit(augment.mix, static_argnums=3)


@pytest.mark.parametrize(
    "field", ["shift", "rotate", "zoom", "contrast", "mixup", "cutmix", "erase", "one_random"]
)
@pytest.mark.parametrize("value", [-0.1, 1e4, math.nan])
def test_policy_names_the_field_that_is_out_of_range(field, value):
    with pytest.raises(ValueError, match=rf"{field} is {value}"):
        Policy(**{field: value})


def test_policy_wants_whole_pixels():
    with pytest.raises(ValueError, match=r"shift is 1\.5"):
        Policy(shift=1.5)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_random_crops_lie_in_the_image_and_have_all_sizes():
    """An image whose red is its column and whose green is its row tells what was cut out."""
    rows, columns = np.mgrid[0:64, 0:64].astype(np.float32)
    image = np.stack([columns, rows, np.zeros_like(rows)], axis=-1)
    result = np.asarray(
        augmented(KEY, jnp.tile(image[None], (400, 1, 1, 1)), Policy(crop=0.25), 32, "bilinear")
    )
    width = (result[:, 16, 24, 0] - result[:, 16, 8, 0]) * 2
    height = (result[:, 24, 16, 1] - result[:, 8, 16, 1]) * 2
    area = width * height / 64**2
    assert area.min() == pytest.approx(0.25, abs=0.03)
    assert area.max() == pytest.approx(1.0, abs=0.05)
    assert (width / height).max() == pytest.approx(4 / 3, abs=0.08)
    assert (width / height).min() == pytest.approx(3 / 4, abs=0.08)
    assert result[..., :2].min() >= 0
    assert result[..., :2].max() <= 63 + 1e-3
    # Small crops are anywhere.
    centre = result[area < 0.35, 16, 16, 0]
    assert centre.min() < 20
    assert centre.max() > 44


@pytest.mark.slow
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


def kind_of_change(image, changed):
    """Which single change explains an image; the reference is the definition of each."""
    ratio = changed[image > 20] / image[image > 20]
    grey = image.mean(-1, keepdims=True)
    centre, away = image.mean((0, 1)), image - image.mean((0, 1))
    colour = np.abs(image - grey) > 10
    if np.allclose(changed, image, atol=1e-3):
        return "nothing"
    if np.ptp(ratio) < 1e-3:
        return "brightness"
    if np.ptp(((changed - grey) / (image - grey))[colour]) < 1e-2:
        return "saturation"
    if np.ptp(((changed - centre) / away)[np.abs(away) > 10]) < 1e-2:
        return "contrast"
    return "geometry"


@pytest.mark.slow
def test_one_random_change_is_one_of_six_equally_often():
    # Dull enough that nothing is clipped, as clipping would hide what was done.
    image = 90 + (SMOOTH[0] - 128) / 5 + np.array([20, 0, -20], np.float32)
    changed = np.asarray(many(Policy(one_random=1.0), image, count=600))
    kinds = [kind_of_change(image, other) for other in changed]
    shares = {kind: kinds.count(kind) / 600 for kind in set(kinds)}
    # Three standard errors of a sixth, and of two sixths.
    for kind in ("nothing", "brightness", "saturation", "contrast"):
        assert shares.pop(kind) == pytest.approx(1 / 6, abs=0.046)
    assert shares == {"geometry": pytest.approx(2 / 6, abs=0.058)}


@pytest.mark.slow
def test_strength_bounds_the_random_change():
    image = np.full((32, 32, 3), 100, np.float32)
    for strength in (0.2, 1.0):
        changed = np.asarray(many(Policy(one_random=strength), image, count=600))
        assert changed.min() == pytest.approx(100 * (1 - 0.5 * strength), rel=0.05)
        assert changed.max() == pytest.approx(100 * (1 + 0.5 * strength), rel=0.05)


# --- augment as a whole


@pytest.mark.parametrize("method", transforms.METHODS)
def test_empty_policy_is_resize(method):
    images = jnp.asarray(NOISE, jnp.uint8)
    np.testing.assert_array_equal(
        augmented(KEY, images, Policy(), 48, method), transforms.resize(images, 48, method)
    )


@pytest.mark.parametrize(
    "policy",
    [
        Policy(flip=True, shift=4, rotate=1.0, zoom=0.5),
        Policy(crop=0.3, rotate=0.1),
        Policy(contrast=1.0, erase=1.0),
        EVERYTHING,
    ],
)
@pytest.mark.slow
def test_results_stay_in_range_with_the_right_shape(policy):
    extreme = jnp.asarray(RNG.choice([0, 255], (16, 32, 32, 3)), jnp.uint8)
    result = augmented(KEY, extreme, policy, 40, "bicubic")
    assert result.shape == (16, 40, 40, 3)
    assert result.dtype == jnp.float32
    assert float(result.min()) >= 0
    assert float(result.max()) <= 255


# The next tests share the program of the last case above.
@pytest.mark.slow
def test_augment_repeats_itself_for_a_key():
    images = jnp.asarray(NOISE, jnp.uint8)
    first = augmented(KEY, images, EVERYTHING, 40, "bicubic")
    np.testing.assert_array_equal(first, augmented(KEY, images, EVERYTHING, 40, "bicubic"))
    other = augmented(jax.random.key(1), images, EVERYTHING, 40, "bicubic")
    assert (np.asarray(other) != np.asarray(first)).any((1, 2, 3)).all()


@pytest.mark.slow
def test_images_draw_their_own_numbers():
    images = jnp.broadcast_to(jnp.asarray(SMOOTH[0], jnp.uint8), NOISE.shape)
    result = np.asarray(augmented(KEY, images, EVERYTHING, 40, "bicubic"))
    assert len({image.tobytes() for image in result}) == len(NOISE)


@pytest.mark.slow
def test_an_image_does_not_depend_on_the_others():
    images = jnp.asarray(NOISE, jnp.uint8)
    changed = images.at[1:].set(0)
    first, second = (
        augmented(KEY, batch, EVERYTHING, 40, "bicubic")[0] for batch in (images, changed)
    )
    np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.slow
def test_augment_does_the_same_without_jit():
    arguments = KEY, jnp.asarray(NOISE), Policy(flip=True, contrast=0.2), 40, "bilinear"
    np.testing.assert_allclose(augment.augment_images(*arguments), augmented(*arguments), atol=0.05)


# --- mix

# Few policies and one shape, since each combination is compiled.
MIXUP, CUTMIX = Policy(mixup=0.4), Policy(cutmix=1.0)
# Beta(.05, .05) puts nearly everything at its ends, where its sampling can go wrong.
BOTH = Policy(mixup=0.05, cutmix=0.05)
# The value of every pixel is the index of its image: a mixed pixel tells where it came from.
CODED = jnp.broadcast_to(jnp.arange(64.0)[:, None, None, None], (64, 20, 24, 3))
IDENTITY = jnp.eye(64)


def test_no_mixing_is_no_change():
    images, targets = augment.mix(KEY, CODED, IDENTITY, EVERYTHING)
    assert images is CODED
    assert targets is IDENTITY


@pytest.mark.parametrize("policy", [MIXUP, CUTMIX, BOTH])
@pytest.mark.slow
def test_targets_remain_distributions_and_images_in_range(policy):
    noise = jnp.asarray(RNG.choice([0.0, 255.0], CODED.shape), jnp.float32)
    for seed in range(8 if policy == BOTH else 4):  # One of both per seed.
        images, targets = mixed(jax.random.key(seed), noise, IDENTITY, policy)
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-5)
        assert float(targets.min()) >= 0
        assert float(images.min()) >= 0
        assert float(images.max()) <= 255.001
        assert bool(jnp.isfinite(images).all())


@pytest.mark.slow
def test_mixup_mixes_pixels_and_targets_alike():
    images, targets = mixed(KEY, CODED, IDENTITY, MIXUP)
    # Each image is flat, with the value that its targets' weights predict.
    assert float(images.std((1, 2)).max()) < 1e-3
    np.testing.assert_allclose(images[:, 0, 0, 0], targets @ jnp.arange(64.0), atol=1e-3)


@pytest.mark.slow
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


@pytest.mark.slow
def test_partners_are_a_permutation():
    _, targets = mixed(KEY, CODED, IDENTITY, MIXUP)
    foreign = np.asarray(targets) * (1 - np.eye(64)) > 1e-6
    assert foreign.sum() > 50
    assert foreign.sum(0).max() == foreign.sum(1).max() == 1


@pytest.mark.slow
def test_mixing_weights_are_beta_distributed():
    keys = jax.random.split(KEY, 64)
    own = np.stack([np.diag(mixed(key, CODED, IDENTITY, MIXUP)[1]) for key in keys])
    # One image in 64 is its own partner.
    assert abs(own.mean() - 0.5) < 0.03
    assert abs(own.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01  # variance of Beta(a, a)


@pytest.mark.slow
def test_with_both_each_batch_does_one_or_the_other():
    flat = 0
    for seed in range(30):
        images, _ = mixed(jax.random.key(seed), CODED, IDENTITY, BOTH)
        spread = np.asarray(images.std((1, 2))).max(-1)
        assert (spread < 1e-3).all() or (np.asarray(images) == np.round(images)).all()
        flat += (spread < 1e-3).all()
    assert 5 < flat < 25


@pytest.mark.slow
def test_mix_repeats_itself_for_a_key():
    first, again, other = (mixed(jax.random.key(k), CODED, IDENTITY, BOTH) for k in (0, 0, 1))
    for left, same, right in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(left, same)
        assert (np.asarray(left) != np.asarray(right)).any()
