"""The sentences that a person is told."""

import dataclasses
from datetime import datetime

import numpy as np
import pytest
from changes import with_candidate, with_photos

from cifsel.selfie.protocol.candidates import Difference
from cifsel.selfie.protocol.learning_curve import CurvePoint
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.report import cautions, sentences

ONE_BY_ONE = {"examples": 24, "repeats": 1, "right": 22.000000000000004}
ONE_BY_ONE |= {"accuracy_interval": (0.742, 0.977)}
KFOLD = {"examples": 24, "repeats": 10, "right": 20.73, "accuracy_interval": (0.66, 0.95)}
FLAT = (CurvePoint(6.0, 0.6, 0.5, 0.7), CurvePoint(19.2, 0.6, 0.5, 0.7))
RISING = (CurvePoint(6.0, 0.6, 0.5, 0.7), CurvePoint(19.2, 0.7, 0.6, 0.8))
PHOTOS = PhotoSet(
    class_names=("happy", "very_sad"),
    names=("happy/a.jpg", "happy/b.jpg", "very_sad/c.jpg", "very_sad/d.jpg"),
    labels=np.array([0, 0, 1, 1]),
    groups=np.arange(4),
    taken=(None,) * 4,
    skipped=(),
    copies=(),
    crop="none",
    faces=(None,) * 4,
    asked="photos",
)


@pytest.fixture
def outcome(make_outcome):
    """An outcome whose candidates are a probe, one of ImageNet's, and one without the crop."""
    outcome = make_outcome()
    probe, imagenet, uncropped = outcome.candidates
    one_by_one = dataclasses.replace(probe.leave_one_out, **ONE_BY_ONE)
    kfold = dataclasses.replace(probe.kfold, **KFOLD)
    scores = {"leave_one_out": one_by_one, "kfold": kfold, "model": "efficientnetv2-b3"}
    candidates = (
        dataclasses.replace(probe, **scores),
        dataclasses.replace(imagenet, **scores),
        uncropped,
    )
    return dataclasses.replace(
        outcome,
        candidates=candidates,
        differences=(),
        permutation=dataclasses.replace(outcome.permutation, p=0.0099),
        learning_curve=RISING,
        photos=PHOTOS,
    )


def with_difference(outcome, mean, p, against="ImageNet weights, probe"):
    """The outcome with one difference, of the first candidate."""
    difference = Difference(
        outcome.candidates[0].name, against, mean=mean, low=mean - 0.1, high=mean + 0.1, p=p
    )
    return dataclasses.replace(outcome, differences=(*outcome.differences, difference))


def test_sentence_of_photos_held_out_one_by_one(outcome):
    assert sentences.summary(outcome) == (
        "22 of 24 photos right when each was held out. On photos like these the true"
        " rate is likely between 74 % and 98 %. This is about other photos of these people. Luck"
        " alone would hardly do as well (p = 0.0099). More photos would probably help."
    )


def test_sentence_of_cross_validation_alone(outcome):
    outcome = with_candidate(outcome, 0, leave_one_out=None)
    outcome = dataclasses.replace(outcome, learning_curve=FLAT)
    assert sentences.summary(outcome) == (
        "20.7 of 24 photos right in 10 x cross-validation. On photos like these the true"
        " rate is likely between 66 % and 95 %. This is about other photos of these people. Luck"
        " alone would hardly do as well (p = 0.0099). Nothing says that more photos would help."
    )


def test_sentence_is_about_the_first_candidate(outcome):
    wrong = dataclasses.replace(outcome.candidates[1].leave_one_out, right=3.0)
    other = with_candidate(outcome, 1, leave_one_out=wrong)
    assert sentences.summary(other) == sentences.summary(outcome)
    chosen = with_candidate(outcome, 0, leave_one_out=wrong)
    assert sentences.summary(chosen).startswith("3 of 24 photos right when each was held out.")


@pytest.mark.parametrize(
    ("p", "said"), [(0.049, "hardly do"), (0.05, "may well do"), (1.0, "may well")]
)
def test_luck_is_judged_by_the_permutation_test(outcome, p, said):
    permutation = dataclasses.replace(outcome.permutation, p=p)
    sentence = sentences.summary(dataclasses.replace(outcome, permutation=permutation))
    assert f"Luck alone {'would ' if p < 0.05 else ''}{said}" in sentence
    assert f"(p = {p:.2g})" in sentence


@pytest.mark.parametrize(
    ("low", "happy", "said"),
    [
        (0.51, 2, "That is more than guessing."),
        (0.49, 2, "The model cannot be told from guessing. Always giving the most frequent answer"),
        # Always saying "happy" is right for three in four.
        (0.51, 3, "cannot be told from guessing. Always giving the most frequent answer would"),
    ],
)
def test_without_permutations_luck_is_judged_by_the_interval(outcome, low, happy, said):
    scores = outcome.candidates[0].leave_one_out
    scores = dataclasses.replace(scores, accuracy_interval=(low, 0.977))
    outcome = with_candidate(
        dataclasses.replace(outcome, permutation=None), 0, leave_one_out=scores
    )
    outcome = with_photos(outcome, labels=np.repeat([0, 1], [happy, 4 - happy]))
    assert said in sentences.summary(outcome)
    assert "p =" not in sentences.summary(outcome)


def test_worse_than_guessing_comes_first(outcome):
    scores = dataclasses.replace(outcome.candidates[0].leave_one_out, auc=0.43)
    worse = with_candidate(outcome, 0, leave_one_out=scores)
    first, second, *_ = sentences.summary_sentences(worse)
    assert first == "The model does worse than guessing on new photos (AUC 0.43)."
    assert second.startswith("Always giving the most frequent answer would get ")
    assert not sentences.beats_guessing(worse)
    assert sentences.beats_guessing(outcome)


def test_no_better_than_luck_comes_first(outcome):
    permutation = dataclasses.replace(outcome.permutation, p=0.2)
    first, *_ = sentences.summary_sentences(dataclasses.replace(outcome, permutation=permutation))
    assert first == "The model cannot be told from guessing."


def test_the_choice_has_a_reason(outcome):
    alone = dataclasses.replace(outcome, candidates=outcome.candidates[:1])
    assert sentences.chosen_because(alone) == ""
    assert sentences.chosen_because(outcome) == (
        "task-1 checkpoint, probe is chosen, because it is of the weights that were asked for. The"
        " other candidates are there for comparison."
    )


def test_nothing_to_warn_of(outcome):
    outcome = with_difference(with_difference(outcome, 0.0, 1.0), 0.2, 0.01)
    assert cautions.warnings(outcome) == []


def test_warnings_name_photos_that_are_copies_and_in_two_classes(outcome):
    outcome = with_photos(outcome, copies=((0, 1, True), (1, 2, False)))
    assert cautions.warnings(outcome) == [
        "happy/a.jpg and happy/b.jpg are the same picture: they were held out together",
        "happy/b.jpg and very_sad/c.jpg are near copies, in two classes (happy and very sad): one"
        " must be wrong",
    ]


@pytest.mark.parametrize(("p", "sure"), [(0.04, "clearly"), (0.06, "perhaps by chance")])
def test_warnings_say_that_imagenet_was_better_and_how_to_use_it(outcome, p, sure):
    outcome = with_difference(outcome, -0.125, p)
    (warning,) = cautions.warnings(outcome)
    assert "plain ImageNet weights did better" in warning
    assert f"by 12 points, {sure} (p = {p})" in warning
    assert warning.endswith("--config.init_from=imagenet --config.model=efficientnetv2-b3")
    # There is no field for another width.
    (warning,) = cautions.warnings(with_candidate(outcome, 1, alpha=0.5))
    assert warning.endswith(f"(p = {p})")


def test_another_crop_of_the_same_weights_is_not_a_matter_of_weights(outcome):
    probe, _, uncropped = outcome.candidates
    worse = with_difference(outcome, -0.1, 0.2, uncropped.name)
    (warning,) = cautions.warnings(worse)
    assert warning.startswith("crop=none did better")
    # Nor if these are ImageNet's, which the user has chosen already.
    name = "ImageNet weights, without the crop, probe"
    candidates = (
        dataclasses.replace(probe, name="ImageNet weights, probe"),
        dataclasses.replace(uncropped, name=name),
    )
    outcome = dataclasses.replace(outcome, candidates=candidates)
    assert cautions.warnings(with_difference(outcome, -0.1, 0.2, name)) == [warning]


def test_warnings_name_a_crop_that_did_better(outcome):
    outcome = with_candidate(outcome, 2, crop="expression")
    name = outcome.candidates[2].name
    assert cautions.warnings(with_difference(outcome, 0.1, 0.2, name)) == []
    (warning,) = cautions.warnings(with_difference(outcome, -0.125, 0.02, name))
    assert warning == (
        "crop=expression did better on these photos by 12 points, clearly (p = 0.02): to use it,"
        " --config.crop=expression"
    )


def test_warnings_say_to_which_class_answers_lean(outcome):
    outcome = with_photos(outcome, groups=np.arange(4))
    confusion = np.array([[20.0, 9.0], [1.0, 30.0]])
    scores = dataclasses.replace(outcome.candidates[0].leave_one_out, confusion=confusion)
    (warning,) = cautions.warnings(with_candidate(outcome, 0, leave_one_out=scores))
    assert "lean to very sad: 9 photos of other classes were taken for it, and 1 the" in warning
    assert "(p = 0.021)" in warning


def test_the_question_that_was_answered_is_said(outcome):
    def said(**photos):
        return sentences.summary(with_photos(outcome, **photos))

    days = [datetime(2026, 5, day, 12) for day in range(1, 9)]
    people = "about other photos of these people."
    assert people in said()
    assert "hold_out" not in said()
    assert "people that it has never seen" in said(asked="people")
    assert "other days of these people" in said(asked="days")
    assert "Other days may be harder" in said(taken=(days[0],) * 4)
    eight = {
        "names": tuple(f"{i}.jpg" for i in range(8)),
        "labels": np.repeat([0, 1], 4),
        "groups": np.arange(8),
        "faces": (None,) * 8,
    }
    assert f"{people} --config.hold_out=days asks about other days." in said(
        taken=tuple(days), **eight
    )
    assert "hold_out" not in said(taken=(days[0], *days[:7]), **eight)


def test_warnings_count_the_photos_without_a_face(outcome):
    assert cautions.warnings(outcome) == []  # No face was looked for.
    face = (0, 0, 9, 9)

    def warnings(*faces):
        return cautions.warnings(with_photos(outcome, crop="face", faces=faces))

    assert warnings(face, face, None, None) == [
        "no face was found in 2 photos, of which the middle was used"
    ]
    assert warnings(face, face, face, None)[0].startswith("no face was found in 1 photo, ")
    assert warnings(face, face, face, face) == []


@pytest.mark.parametrize(
    ("class_names", "title"),
    [
        (("happy", "very_sad"), "How well are happy and very sad told apart?"),
        (("a", "b", "c"), "How well are a, b and c told apart?"),
        (tuple("abcdef"), "How well are the classes told apart?"),
    ],
)
def test_title_names_a_few_classes(outcome, class_names, title):
    outcome = with_photos(outcome, class_names=class_names)
    assert sentences.title(outcome) == title
    drawn = dataclasses.replace(outcome, drawn=True)
    assert sentences.title(drawn) == f"{title} (drawn faces)"


def test_sets_say_what_so_few_photos_promise(make_outcome):
    outcome = make_outcome()
    text = sentences.sets(outcome)
    ninety = next(made for made in outcome.sets if made.wanted == 0.9)
    low, high = (f"{100 * end:.0f} %" for end in ninety.likely_coverage)
    assert f"comes from {ninety.calibrated_on} held-out answers alone" in text
    assert "for at least 90 % of new photos like these" in text
    assert f"between {low} and {high} in 90 of 100 cases" in text.replace("\u00a0", " ")


def test_sets_need_some_photos(make_outcome, monkeypatch):
    outcome = make_outcome()
    monkeypatch.setattr(type(outcome), "sets", ())
    assert sentences.sets(outcome).startswith("There are too few photos")
