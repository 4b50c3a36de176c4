"""The tables and explanations of task 2's report."""

import dataclasses
import re

import numpy as np
import pytest
from changes import with_candidate, with_photos

from cifsel.selfie.report import description_tables, score_tables, sentences


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def test_tables_have_the_scores(make_outcome):
    outcome = make_outcome()
    kfold = [candidate.kfold for candidate in outcome.candidates]
    changed = dataclasses.replace(
        kfold[1], right=15.35, accuracy=15.35 / 24, accuracy_interval=(0.43, 0.79), auc=0.654
    )
    outcome = with_candidate(outcome, 1, kfold=changed)
    (_, once), (heading, repeated) = score_tables.score_tables(outcome)
    assert "20 times" in heading
    assert rows(repeated)["ImageNet weights, probe"][:2] == ("15.3 of 24 (64 %)", "43 % to 79 %")
    assert "task-1 checkpoint, without the crop, probe" in rows(repeated)
    assert "task-1 checkpoint, probe (chosen)" in rows(repeated)
    assert "0.65" in rows(repeated)["ImageNet weights, probe"]
    assert "task-1 checkpoint, probe (chosen)" in rows(once)
    assert rows(once)["guessing, for comparison"] == (
        "12 of 24 (50 %)",
        "",
        "50 %",
        "0.50",
        f"{np.log(2):.2f}",
    )
    in_words = [row[-1] for row in score_tables.difference_table(outcome).rows]
    assert in_words == ["may be chance", "task-1 checkpoint, probe is better"]


def test_guessing_of_unequal_classes_is_the_most_frequent_class(make_outcome):
    outcome = with_photos(make_outcome(), labels=np.repeat([0, 1], [18, 6]))
    assert outcome.photos.per_class == {"happy": 18, "sad": 6}
    assert outcome.photos.majority_share == 0.75
    (_, table), _ = score_tables.score_tables(outcome)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    guessing = rows(table)["guessing, for comparison"]
    assert guessing == ("18 of 24 (75 %)", "", "50 %", "0.50", f"{entropy:.2f}")


def test_mistakes_are_those_of_the_chosen_candidate(make_outcome):
    outcome = make_outcome()
    scores = outcome.candidates[0].leave_one_out
    heading, table = score_tables.mistake_table(outcome)
    assert heading == "What it got wrong"
    assert len(table.rows) == 24 - scores.right
    certain = np.eye(2)[outcome.photos.labels]

    def mistakes(probabilities):
        changed = dataclasses.replace(scores, probabilities=probabilities)
        return score_tables.mistake_table(with_candidate(outcome, 0, leave_one_out=changed))

    assert mistakes(certain) == ("It got nothing wrong", None)
    heading, table = mistakes(1 - certain)
    assert heading == "What it got wrong: the worst 15 of 24"
    assert table.rows[0] == ("happy/IMG_1000.jpg", "happy", "sad (100 %)")


@pytest.mark.parametrize(
    ("p", "interval", "expected"),
    [
        (0.004, (0.48, 0.52), "not clearly more than guessing.* hardly luck"),
        (0.03, (0.48, 0.52), "probably not luck"),
        (0.3, (0.48, 0.52), "possibly no more than luck"),
        (0.004, (0.51, 0.57), "not clearly more than guessing"),
        (0.004, (0.55, 0.61), "do not trust this report"),
    ],
)
def test_luck_in_words(make_outcome, p, interval, expected):
    test = dataclasses.replace(
        make_outcome().permutation, p=p, mean=sum(interval) / 2, interval=interval
    )
    assert re.search(expected, sentences.luck(test, "a probe", 2))


def test_when_it_is_unsure_and_what_was_found_of_the_others(make_outcome):
    outcome = make_outcome()
    said = sentences.unsure(outcome)
    for words in ("below 71 %", "set so that 90 % of the other answers are right"):
        assert words in said
    assert "62 % were above it, and 93 % of those were right" in said
    final = dataclasses.replace(outcome.final, sure=None)
    never = sentences.unsure(dataclasses.replace(outcome, final=final))
    assert "“unsure” to every photo" in never
    assert "above which 90 %" in never


def test_each_class_is_scored_by_itself(make_outcome):
    outcome = make_outcome()
    confusion = np.array([[9.0, 3.0], [1.0, 11.0]])
    scores = dataclasses.replace(outcome.chosen_candidate.leave_one_out, confusion=confusion)
    table = rows(score_tables.class_table(with_candidate(outcome, 0, leave_one_out=scores)))
    assert table["happy"] == ("9 of 12 (75 %)", "46 % to 91 %", "10")
    assert table["sad"] == ("11 of 12 (92 %)", "65 % to 99 %", "14")


def test_photos_are_described(make_outcome):
    photos = make_outcome().photos
    cells = rows(description_tables.photo_table(photos))
    assert cells["photos"] == ("24: 12 happy, 12 sad",)
    assert cells["copies (=) and near copies (≈)"] == ("happy/IMG_1000.jpg ≈ happy/IMG_1007.jpg",)
    assert cells["what the model is shown"][0].endswith("No face was found in sad/IMG_1161.jpg.")
    skipped = tuple(f"{i}.txt" for i in range(7))
    photos = dataclasses.replace(photos, crop="none", copies=(), skipped=skipped)
    cells = rows(description_tables.photo_table(photos))
    assert cells["copies (=) and near copies (≈)"] == ("none",)
    assert cells["passed over"] == ("0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more",)
    assert "face" not in cells["what the model is shown"][0]


def test_the_final_model_has_its_settings_and_says_what_its_probabilities_are(make_outcome):
    outcome = make_outcome()
    final = dataclasses.replace(outcome.final, layers=("top",), grid=1, temperature=0.8)
    outcome = dataclasses.replace(outcome, final=final)
    cells = rows(description_tables.final_model_table(outcome))
    assert cells["settings"] == ("top, grid 1 × 1, L2 0.01",)
    assert "too timid" in cells["its probabilities"][0]
    scores = dataclasses.replace(outcome.chosen_candidate.leave_one_out, auc=0.4)
    worse = with_candidate(outcome, 0, leave_one_out=scores)
    said = rows(description_tables.final_model_table(worse))["its probabilities"][0]
    assert "no better than guessing" in said
    assert "timid" not in said


def test_settings_of_all_candidates_are_listed(make_outcome):
    probes = [row[1] for row in score_tables.choice_table(make_outcome()).rows]
    assert len(probes) == 3 * score_tables.SETTINGS
    assert all(re.fullmatch(r"\w+, grid (\d) × \1, L2 0\.01", setting) for setting in probes)
