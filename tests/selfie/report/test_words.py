"""What a person is told, from what the folds found."""

import copy

import pytest

from cifsel.selfie.report import words

SCORE = {
    "examples": 24,
    "repeats": 1,
    "right": 22.000000000000004,
    "accuracy_interval": [0.742, 0.977],
}
KFOLD = {
    "examples": 24,
    "repeats": 10,
    "right": 20.73,
    "accuracy_interval": [0.66, 0.95],
}
FOUND = {
    "photos": {
        "class_names": ["happy", "very_sad"],
        "per_class": {"happy": 12, "very_sad": 12},
        "count": 24,
        "names": ["happy/a.jpg", "happy/b.jpg", "very_sad/c.jpg"],
        "labels": [0, 0, 1],
        "copies": [],
        "crop": "none",
        "faces": [None, None, None],
    },
    "candidates": [
        {
            "name": "task-1 checkpoint, probe",
            "source": "/tmp/task1/effnet",
            "model": "efficientnetv2-b3",
            "method": "probe",
            "leave_one_out": SCORE,
            "kfold": KFOLD,
        },
        {
            "name": "task-1 checkpoint, fine-tuned",
            "source": "/tmp/task1/effnet",
            "model": "efficientnetv2-b3",
            "method": "finetune",
            "leave_one_out": None,
            "kfold": {**KFOLD, "repeats": 1},
        },
        {
            "name": "ImageNet weights, probe",
            "source": "b3.h5",
            "model": "efficientnetv2-b3",
            "alpha": 1.0,
            "method": "probe",
            "leave_one_out": SCORE,
            "kfold": KFOLD,
        },
    ],
    "chosen": 0,
    "differences": [],
    "permutation": {"p": 0.0099},
    "more_would_help": True,
}


@pytest.fixture
def found():
    return copy.deepcopy(FOUND)


def difference(mean, p, against="ImageNet weights, probe"):
    return {"name": "task-1 checkpoint, probe", "against": against, "mean": mean, "p": p}


def test_sentence_of_photos_held_out_one_by_one(found):
    assert words.sentence(found) == (
        "22 of 24 photos right when each was held out; the true rate is likely between 74 % and"
        " 98 %; luck alone would hardly do as well (p = 0.0099); more photos would probably help."
    )


def test_sentence_of_cross_validation_alone(found):
    found["candidates"][0]["leave_one_out"] = None
    found["more_would_help"] = False
    assert words.sentence(found) == (
        "20.7 of 24 photos right in 10 x cross-validation; the true rate is likely between 66 % and"
        " 95 %; luck alone would hardly do as well (p = 0.0099); nothing says that more photos"
        " would help."
    )


def test_sentence_is_about_the_chosen_one(found):
    found["candidates"][0]["leave_one_out"]["right"] = 3
    found["chosen"] = 1
    assert words.sentence(found).startswith("20.7 of 24 photos right in ")
    # What was tested is the first, and is called by its name.
    assert "(p = 0.0099, of the probe)" in words.sentence(found)


@pytest.mark.parametrize(
    ("p", "said"), [(0.049, "hardly do"), (0.05, "may well do"), (1, "may well")]
)
def test_luck_is_what_the_dealings_say(found, p, said):
    found["permutation"]["p"] = p
    sentence = words.sentence(found)
    assert f"luck alone {'would ' if p < 0.05 else ''}{said}" in sentence
    assert f"(p = {p:.2g})" in sentence


@pytest.mark.parametrize(
    ("low", "happy", "said"),
    [
        (0.51, 12, "more than guessing"),
        (0.49, 12, "guessing may do as well"),
        # Always saying "happy" is right for two in three.
        (0.51, 16, "guessing may do as well"),
    ],
)
def test_without_dealings_the_interval_speaks(found, low, happy, said):
    found["permutation"] = None
    found["photos"]["per_class"] = {"happy": happy, "sad": 24 - happy}
    found["candidates"][0]["leave_one_out"]["accuracy_interval"][0] = low
    assert said in words.sentence(found)
    assert "p =" not in words.sentence(found)


def test_nothing_to_note(found):
    found["differences"] = [difference(0.0, 1.0), difference(0.2, 0.01)]
    assert words.notes(found) == []


def test_notes_say_which_photos_are_copies_and_in_two_classes(found):
    found["photos"]["copies"] = [
        ["happy/a.jpg", "happy/b.jpg", True],
        ["happy/b.jpg", "very_sad/c.jpg", False],
    ]
    assert words.notes(found) == [
        "happy/a.jpg and happy/b.jpg are the same picture: they were held out together",
        "happy/b.jpg and very_sad/c.jpg are near copies, in two classes (happy and very sad): one"
        " must be wrong",
    ]


@pytest.mark.parametrize(("p", "sure"), [(0.04, "clearly"), (0.06, "perhaps by chance")])
def test_notes_say_that_imagenet_was_better_and_how_to_use_it(found, p, sure):
    found["differences"] = [difference(-0.125, p)]
    (note,) = words.notes(found)
    assert "plain ImageNet weights did better" in note
    assert f"by 12 points, {sure} (p = {p})" in note
    assert note.endswith("--config.init_from=imagenet --config.model=efficientnetv2-b3")
    # There is no field for another width.
    found["candidates"][2]["alpha"] = 0.5
    assert words.notes(found)[0].endswith(f"(p = {p})")


def test_another_method_with_the_same_weights_is_not_a_matter_of_weights(found):
    found["differences"] = [difference(-0.1, 0.2, "task-1 checkpoint, fine-tuned")]
    assert words.notes(found) == []
    # Nor when these are ImageNet's, which the user has chosen already.
    for candidate in found["candidates"]:
        candidate["name"] = candidate["name"].replace("task-1 checkpoint", "ImageNet weights")
    del found["candidates"][2]
    found["differences"] = [
        difference(-0.1, 0.2, "ImageNet weights, fine-tuned") | {"name": "ImageNet weights, probe"}
    ]
    assert words.notes(found) == []


def test_notes_count_the_photos_without_a_face(found):
    assert words.notes(found) == []  # there is none to miss
    found["photos"] |= {"crop": "face", "faces": [[0, 0, 9, 9], None, None]}
    assert words.notes(found) == ["no face was found in 2 photos, of which the middle was used"]
    found["photos"]["faces"][1] = [0, 0, 9, 9]
    assert words.notes(found)[0].startswith("no face was found in 1 photo, ")
    found["photos"]["faces"][2] = [0, 0, 9, 9]
    assert words.notes(found) == []
