"""Images as Python has them get the answers of the command, and others are refused in one line."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cifsel import predict
from cifsel.data.photos import crops, decoding
from cifsel.errors import UserError
from cifsel.prediction import Predictor, seen
from cifsel.prediction.given_images import given_images
from cifsel.prediction.image_predictor import ImagePredictor
from cifsel.workdir.model_meta import SeenPhoto


def colours(shown):
    """Logits of a model that looks at the three mean colours."""
    return shown.mean((1, 2)).astype(np.float64) / 50


def make(task="selfie", **changes):
    settings = {
        "task": task,
        "class_names": ("red", "green", "blue"),
        "sure_from": 0.6,
        "size": 16,
        "detail": 16,
        "temperature": 1.0,
        "cropper": crops.Cropper("none"),
        "needs_face": False,
        "logits": colours,
        "evidence": lambda shown, classes: np.full((1, 1, 1), 1, np.float32),
    }
    return Predictor(**settings | changes)


@pytest.fixture
def predictor():
    return ImagePredictor(make())


@pytest.fixture(scope="module")
def pixels():
    smooth = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    return smooth.repeat(7, 0).repeat(7, 1)


def shares(prediction):
    return list(prediction.probabilities.values())


# --- the same answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["task1", "selfie"])
def test_answers_are_those_of_the_command(task, pixels, tmp_path, monkeypatch, capsys):
    photo = SeenPhoto(seen.digest(pixels), 1, (0.75, 0.25, 0.0))
    model = make(task, seen=(photo,) if task == "selfie" else ())
    monkeypatch.setattr(predict, "_load", lambda *_: model)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, image in zip(paths, (pixels, pixels[:, ::-1, ::-1]), strict=True):
        Image.fromarray(image).save(path)
    names = [str(path) for path in paths]
    predict.run(predict.parser().parse_args([*names, "--checkpoint=x", "--json"]))
    objects = json.loads(capsys.readouterr().out)
    given = [str(paths[0]), paths[1]]
    for answer, printed in zip(ImagePredictor(model).predict(given), objects, strict=True):
        assert (answer.image, answer.label) == (printed["photo"], printed["label"])
        assert answer.probability == pytest.approx(printed["probability"], abs=1e-6)
        assert answer.probabilities == pytest.approx(printed["probabilities"], abs=1e-6)
        assert answer.unsure == printed.get("unsure")
        assert answer.seen_in_training == printed.get("seen_in_training")
    held_out = ImagePredictor(model).predict(names)[0].held_out
    if task == "selfie":
        assert (held_out.label, held_out.probability) == ("red", 0.75)
        assert objects[0]["held_out"] == {"label": "red", "probability": 0.75}
    else:
        assert held_out is None


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "CMYK"])
def test_an_image_of_pillow_is_its_file(pixels, tmp_path, suffix, mode):
    image = Image.fromarray(pixels).convert("RGBA" if mode == "LA" else mode).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    path = tmp_path / f"a.{suffix}"
    try:
        exif = Image.Exif()
        if suffix != "tiff":  # Pillow loses it where it maps a file into memory.
            exif[0x0112] = 6  # turned by a quarter
        image.save(path, exif=exif)
    except OSError:
        pytest.skip(f"{suffix} has no {mode}")
    expected = decoding.decode(path, "a").pixels
    with Image.open(path) as opened:
        np.testing.assert_array_equal(given_images(opened)[0].pixels(), expected)


def test_arrays_are_their_images(pixels, predictor):
    grey = pixels[..., 0]
    alpha = np.linspace(0, 255, grey.size).reshape(grey.shape).astype(np.uint8)
    with_alpha = np.dstack([pixels, alpha])
    pairs = [
        (pixels, Image.fromarray(pixels)),
        (grey, Image.fromarray(grey)),
        (grey[..., None], Image.fromarray(grey)),
        (with_alpha, Image.fromarray(with_alpha)),
        (pixels[:, ::-1], Image.fromarray(np.ascontiguousarray(pixels[:, ::-1]))),
        *(
            (pixels.astype(kind) / kind(255), Image.fromarray(pixels))
            for kind in (np.float32, float)
        ),
        (jnp.asarray(pixels), Image.fromarray(pixels)),
        (with_alpha / 255.0, Image.fromarray(with_alpha)),
    ]
    of_arrays = predictor.predict([array for array, _ in pairs])
    of_images = predictor.predict([image for _, image in pairs])
    assert [answer.image for answer in of_arrays] == [f"image {i}" for i in range(len(pairs))]
    assert [shares(answer) for answer in of_arrays] == [shares(answer) for answer in of_images]
    assert len({tuple(shares(answer)) for answer in of_arrays}) == 3


def test_transparent_pixels_become_white(predictor):
    clear = np.zeros((9, 9, 4), np.uint8)
    white = np.full((9, 9, 3), 255, np.uint8)
    assert shares(*predictor.predict(clear)) == shares(*predictor.predict(white))


def test_one_image_several_and_a_batch(predictor, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = shares(*predictor.predict([pixels]))
    path = tmp_path / "a.png"
    for one in (pixels, Image.fromarray(pixels), path, str(path), (pixels,), iter([pixels])):
        assert shares(*predictor.predict(one)) == expected
    batch = np.stack([pixels, 255 - pixels])
    assert [shares(a) for a in predictor.predict(batch)] == [
        shares(a) for a in predictor.predict(list(batch))
    ]
    assert predictor.predict([]) == []


# --- what is shown -------------------------------------------------------------------------------


def test_an_answer_and_a_model_can_be_read(predictor):
    red, grey = np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 99, np.uint8)
    red[..., 0] = 255
    assert repr(predictor.predict([red, grey])) == (
        "[Prediction(image 0: red 99 %), Prediction(image 1: unsure (red 33 %))]"
    )
    assert repr(ImagePredictor(make("task1")).predict(grey)) == (
        "[Prediction(image 0: red 33 %, green 33 %, blue 33 %)]"
    )
    assert repr(predictor) == "ImagePredictor(3 classes: red, green, blue)"


def test_evidence_is_a_picture(predictor, pixels):
    (picture,) = predictor.explain(pixels)
    assert (picture.size, picture.mode) == ((16, 16), "RGB")


# --- what is refused -----------------------------------------------------------------------------

FINE = np.zeros((9, 9, 3), np.uint8)
LACKS_NUMBER = np.full((9, 9), np.nan)
REFUSED = {
    "int64": (np.zeros((9, 9, 3), int), "shape (9, 9, 3), int64, from 0 to 0; expected uint8, or"),
    "bool": (np.zeros((9, 9), bool), "shape (9, 9), bool, from nan to nan"),
    "0 to 255": (FINE + 200.0, "float64, from 200 to 200; expected uint8, or floats from 0 to 1"),
    "hint": (FINE + 200.0, ": divide it by 255"),
    "normalised": (FINE - np.float32(2.5), "float32, from -2.5 to -2.5"),
    "NaN": (LACKS_NUMBER, "shape (9, 9), float64, from nan to nan"),
    "two channels": (np.zeros((9, 9, 2), np.uint8), "shape (9, 9, 2), uint8"),
    "channels first": (np.zeros((3, 9, 9), np.uint8), "(H, W, 4): move its channels to the end"),
    "four axes": (np.zeros((1, 9, 9, 3), np.uint8), "shape (1, 9, 9, 3)"),
    "one axis": (np.zeros(9, np.uint8), "shape (9,)"),
    "empty": (np.zeros((0, 9, 3)), "shape (0, 9, 3), float64"),
    "texts": (np.array([["a"]]), "shape (1, 1), <U1"),
    "None": (None, "is of type NoneType; expected a path, an image of Pillow or an array"),
    "list": ([[0, 1]], "is of type list; expected"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_image_is_named_before_any_answer(predictor, kind, monkeypatch):
    monkeypatch.setattr("cifsel.prediction.image_predictor.answer_photos", None)
    image, words = REFUSED[kind]
    with pytest.raises(UserError) as caught:
        predictor.predict([FINE, image])
    assert str(caught.value).startswith("image 1 is ")
    assert words in str(caught.value)


def test_something_that_is_neither_image_nor_list(predictor):
    with pytest.raises(UserError, match="image 0 is of type int; expected a path"):
        predictor.predict(3)


def test_all_files_that_cannot_be_used_are_told_at_once(predictor, pixels, tmp_path):
    (tmp_path / "odd.jpg").write_text("no photo")
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-60])
    given = [FINE, tmp_path / "no.jpg", tmp_path / "odd.jpg", tmp_path, FINE[:2], "http://x/a.jpg"]
    with pytest.raises(UserError) as caught:
        predictor.predict(given)
    message = str(caught.value)
    assert message.startswith("5 of 6 images cannot be used (image 1, ")
    for words in ("no.jpg: no such file; ", "odd.jpg: not a JPEG", ": a folder; ", "; and 2 more)"):
        assert words in message
    with pytest.raises(UserError, match="image 0: 9 x 2 pixels; expected 8 or more"):
        predictor.predict(FINE[:2])
    with (
        Image.open(tmp_path / "cut.png") as cut,
        pytest.raises(UserError, match="image 0: damaged"),
    ):
        predictor.predict(cut)


def test_images_unlike_those_of_training_are_marked():
    """Here those are unlike that are brighter than half."""

    def judge(shown):
        return colours(shown), shown.mean((1, 2, 3))

    images = [np.full((20, 20, 3), level, np.uint8) for level in (100, 200)]
    model = make(judge=judge, unlike_from=128.0)
    like, unlike = ImagePredictor(model).predict(images)
    assert (like.unlike, unlike.unlike) == (False, True)
    assert unlike.words.endswith("  (unlike the photos it was made from)")
    assert "unlike" not in like.words
    assert like.probabilities == ImagePredictor(make()).predict(images)[0].probabilities
    # Where nothing is known of that, nothing is marked. Task 1 does not know.
    assert [own.unlike for own in ImagePredictor(make(judge=judge)).predict(images)] == [False] * 2
    assert [own.unlike for own in ImagePredictor(make("task1")).predict(images)] == [None] * 2
