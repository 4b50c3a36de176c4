"""The report of task 2: what it says, what it must not show, and how it looks in a browser."""

import dataclasses
import html
import re

import numpy as np
import pytest
from etils import epath
from PIL import Image
from recorder import Recorder

from cifsel.selfie.report import description_tables, page, score_tables, sentences

pytestmark = pytest.mark.slow

CHARTS = {"accuracy", "confusion_matrix", "per_photo", "permutation", "learning_curve"}
CHARTS |= {"choices_1", "choices_2", "choices_3_epochs"}


@pytest.fixture
def written(make_outcome, pictures, tmp_path):
    """(with photos, fields of make_outcome) -> folder, outcome, writer."""

    def make(photos=False, **fields):
        outcome = make_outcome(**fields)
        shown = None
        if photos:
            images, heat = pictures(outcome.photos.count)
            shown = page.Pictures(images, heat, 1 - outcome.photos.labels)
        writer = Recorder()
        page.write_report(epath.Path(tmp_path), outcome, shown, writer)
        return tmp_path, outcome, writer

    return make


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def with_photos(outcome, **fields):
    return dataclasses.replace(outcome, photos=dataclasses.replace(outcome.photos, **fields))


def with_candidate(outcome, position, **fields):
    """The outcome with other fields of a candidate."""
    candidates = list(outcome.candidates)
    candidates[position] = dataclasses.replace(candidates[position], **fields)
    return dataclasses.replace(outcome, candidates=tuple(candidates))


@pytest.mark.parametrize(
    "fields",
    [{}, {"classes": 3}, {"leave_one_out": False}, {"classes": 12, "each": 5}],
    ids=["two", "three", "k-fold alone", "many"],
)
def test_sentence_comes_first_and_all_figures_are_there(written, fields):
    folder, outcome, writer = written(**fields)
    text = (folder / "report.md").read_text()
    assert html.unescape(text.split("\n\n")[1]) == sentences.summary(outcome)
    assert set(re.findall(r"\(figures/(\w+)\.png\)", text)) == CHARTS
    assert set(writer.images) == {f"figures/{name}" for name in CHARTS}
    assert {path.stem for path in (folder / "figures").iterdir()} == CHARTS
    assert writer.texts == {"report": text}
    content = (folder / "report.html").read_text()
    warnings = sentences.warnings(outcome)
    assert len(warnings) == 2
    plain = " ".join(html.unescape(re.sub(r"<[^>]+>", "", content)).replace("\xa0", " ").split())
    for said in (*sentences.summary_sentences(outcome), *warnings, outcome.provenance.command):
        assert said in plain
    assert f"python -m cifsel.predict --checkpoint={folder} photo.jpg" in content
    assert ("the worst on top" in content) == (outcome.photos.count <= 40)
    assert ("(leave-one-out)" in plain) == fields.get("leave_one_out", True)


def test_unless_asked_for_no_photo_is_in_anything(written):
    folder, _, writer = written()
    # Charts are drawn as vectors: the page has no picture at all.
    assert "<img" not in (folder / "report.html").read_text()
    for name in ("report.html", "report.md"):
        assert "--config.save_photos=True adds them" in (folder / name).read_text()
    assert "figures/photos" not in writer.images


def test_photos_come_the_worst_first_with_their_predictions(written, pictures):
    folder, outcome, writer = written(photos=True)
    content = (folder / "report.html").read_text()
    assert content.count("data:image/jpeg") == 2 * 24
    assert "save_photos=True adds" not in content
    assert "hold the photos themselves" in content
    assert "figures/photos" in writer.images
    images, heat = pictures(24)
    final = page.Pictures(images, heat, 1 - outcome.photos.labels)
    gallery = page.report_page(epath.Path(folder), outcome, final).galleries[0]
    probabilities, labels = outcome.candidates[1].leave_one_out.probabilities, outcome.photos.labels
    worst = int(np.argmin(probabilities[np.arange(24), labels]))
    first = gallery.tiles[0]
    np.testing.assert_array_equal(first.pictures[0], images[worst])
    assert first.verdict == "wrong"
    assert first.notes[-1] == outcome.photos.names[worst]
    assert first.notes[0].startswith("held out: ")
    # The heat is of the final model's answer, which need not be that of the held-out model.
    label = outcome.photos.labels[worst]
    assert first.notes[1] == f"final model: {outcome.photos.class_names[1 - label]}"
    assert first.labels == ("the photo", "final model")
    right = (probabilities.argmax(1) == labels).sum()
    assert sum(tile.verdict == "right" for tile in gallery.tiles) == right
    assert all((tile.verdict == "right") == tile.notes[0].endswith("✓") for tile in gallery.tiles)
    with Image.open(folder / "figures" / "photos.png") as image:
        assert min(image.size) > 400


def test_large_photos_are_reduced_and_of_many_the_worst_are_shown(make_outcome, pictures):
    images, _ = pictures(60, size=256)
    shown = page.Pictures(images)
    (gallery,) = page.report_page(epath.Path("x"), make_outcome(each=30), shown).galleries
    assert len(gallery.tiles) == page.SHOWN
    assert f"The first {page.SHOWN} of 60." in gallery.explanation
    assert {tile.pictures[0].shape[0] for tile in gallery.tiles} == {page.SIDE}
    assert {len(tile.pictures) for tile in gallery.tiles} == {1}
    # A map of one cell is none.
    single = page.Pictures(images, np.ones((60, 1, 1), np.float32), np.zeros(60, int))
    (gallery,) = page.report_page(epath.Path("x"), make_outcome(each=30), single).galleries
    assert "There is no map" in gallery.explanation
    assert {len(tile.pictures) for tile in gallery.tiles} == {1}


def test_tables_have_the_scores(make_outcome):
    outcome = make_outcome()
    kfold = [candidate.kfold for candidate in outcome.candidates]
    changed = dataclasses.replace(
        kfold[0], right=15.35, accuracy=15.35 / 24, accuracy_interval=(0.43, 0.79), auc=0.654
    )
    outcome = with_candidate(outcome, 0, kfold=changed)
    outcome = with_candidate(outcome, 2, kfold=dataclasses.replace(kfold[2], repeats=1))
    (_, once), (heading, repeated) = score_tables.score_tables(outcome)
    assert "20 times" in heading
    assert rows(repeated)["task-1 checkpoint, probe"][:2] == ("15.3 of 24 (64 %)", "43 % to 79 %")
    assert "ImageNet weights, fine-tuned (once only)" in rows(repeated)
    assert "ImageNet weights, probe (chosen)" in rows(repeated)
    assert "0.65" in rows(repeated)["task-1 checkpoint, probe"]
    assert "ImageNet weights, probe (chosen)" in rows(once)
    assert rows(once)["guessing, for comparison"] == (
        "12 of 24 (50 %)",
        "",
        "50 %",
        "0.50",
        f"{np.log(2):.2f}",
    )
    in_words = [row[-1] for row in score_tables.difference_table(outcome).rows]
    assert in_words == ["may be chance", "ImageNet weights, probe is better"]


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
    scores = outcome.candidates[1].leave_one_out
    heading, table = score_tables.mistake_table(outcome)
    assert heading == "What it got wrong"
    assert len(table.rows) == 24 - scores.right
    certain = np.eye(2)[outcome.photos.labels]

    def mistakes(probabilities):
        changed = dataclasses.replace(scores, probabilities=probabilities)
        return score_tables.mistake_table(with_candidate(outcome, 1, leave_one_out=changed))

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


def test_when_it_is_unsure():
    assert "below 71 %" in sentences.unsure(0.71)
    assert "“unsure” to every photo" in sentences.unsure(None)


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


def test_a_fine_tuned_final_model_has_no_penalty(make_outcome):
    outcome = make_outcome()
    final = dataclasses.replace(
        outcome.final, layer="top", grid=1, method="finetune", l2=None, temperature=0.8
    )
    outcome = dataclasses.replace(outcome, chosen=2, final=final)
    better = dataclasses.replace(outcome.chosen_candidate.leave_one_out, accuracy_interval=(0.6, 1))
    outcome = with_candidate(outcome, 2, leave_one_out=better)
    cells = rows(description_tables.final_model_table(outcome))
    assert cells["settings"] == ("top, grid 1 × 1",)
    assert "too timid" in cells["its probabilities"][0]
    scores = dataclasses.replace(better, auc=0.4)
    worse = with_candidate(outcome, 2, leave_one_out=scores)
    said = rows(description_tables.final_model_table(worse))["its probabilities"][0]
    assert "no better than guessing" in said
    assert "timid" not in said


def test_settings_of_both_methods_are_listed(make_outcome):
    table = score_tables.choice_table(make_outcome())
    assert [row[1] for row in table.rows if "fine-tuned" in row[0]] == ["20 epochs", "40 epochs"]
    probes = [row[1] for row in table.rows if "probe" in row[0]]
    assert len(probes) == 2 * score_tables.SETTINGS
    assert all(re.fullmatch(r"\w+, grid (\d) × \1, L2 0\.01", setting) for setting in probes)


def test_parts_that_were_not_computed_are_left_out(make_outcome, tmp_path):
    outcome = dataclasses.replace(
        make_outcome(), permutation=None, learning_curve=(), differences=()
    )
    report = page.report_page(epath.Path(tmp_path), outcome, None)
    page.write_report(epath.Path(tmp_path), outcome, None, Recorder())
    for text in (report.html(), report.markdown()):
        assert "How far can this be trusted" not in text
        assert "Is one of them better" not in text


def test_summaries_have_the_numbers(written):
    _, outcome, writer = written()
    losses = outcome.candidates[2].losses
    name = f"held_out_loss/{outcome.candidates[2].name}"
    assert [writer.scalars[loss.epochs, name] for loss in losses] == [loss.loss for loss in losses]
    curve = {step: v for (step, name), v in writer.scalars.items() if name.startswith("learning")}
    assert curve == {round(point.photos): point.accuracy for point in outcome.learning_curve}
    assert len(writer.histograms["permutation/accuracies"]) == 200


def test_names_from_files_cannot_become_markup(make_outcome):
    evil = "<img src=x onerror=alert(1)>|_"
    outcome = with_photos(
        make_outcome(),
        class_names=(evil, "sad"),
        names=(evil,) * 24,
        skipped=(evil,),
        copies=((0, 1, True), (0, 23, True)),
    )
    for position, candidate in enumerate(outcome.candidates):
        outcome = with_candidate(outcome, position, name=evil + candidate.method, source=evil)
    differences = tuple(
        dataclasses.replace(difference, name=evil, against=outcome.candidates[0].name)
        for difference in outcome.differences
    )
    provenance = dataclasses.replace(outcome.provenance, command=evil)
    outcome = dataclasses.replace(outcome, differences=differences, provenance=provenance)
    report = page.report_page(epath.Path(f"/{evil}"), outcome, None)
    assert "<img src=x" not in report.html()
    # Code in Markdown is shown as it is.
    assert "<img" not in re.sub(r"```.*?```", "", report.markdown(), flags=re.DOTALL)


@pytest.mark.parametrize(
    "fields",
    [
        {"photos": True},
        {"photos": True, "classes": 12, "each": 4},
        {"classes": 30, "each": 3, "leave_one_out": False},
    ],
    ids=["two", "many", "no coarse labels"],
)
def test_report_fits_at_every_width_in_both_schemes_and_on_paper(written, browser, fields):
    folder, outcome, _ = written(**fields)
    assert browser.faults(folder / "report.html") == []
    browser.open(folder / "report.html", 1280)
    said = browser.value("document.querySelector('.verdict').innerText").replace("\xa0", " ")
    assert said == sentences.summary_sentences(outcome)[0]
