"""The report of task 2: what it says, what it must not show, and how it looks in a browser."""

import dataclasses
import functools
import html
import re

import numpy as np
import pytest
import tiny_run
from changes import with_candidate, with_photos
from etils import epath
from PIL import Image
from recorder import Recorder

from cifsel.selfie.report import cautions, page, sentences

pytestmark = pytest.mark.slow

CHARTS = {"accuracy", "confusion_matrix", "per_photo", "permutation", "learning_curve"}
CHARTS |= {"choices_1", "choices_2", "choices_3"}


@pytest.fixture(scope="module")
def written(make_outcome, pictures, tmp_path_factory):
    """(with photos, fields of make_outcome) -> folder, outcome, writer. Each is written once.

    Without photos and fields, the charts are not drawn, which takes seconds. The others have them.
    """

    @functools.cache
    def make(photos=False, **fields):
        outcome = make_outcome(**fields)
        shown = None
        if photos:
            images, heat = pictures(outcome.photos.count)
            shown = page.Pictures(images, heat, 1 - outcome.photos.labels)
        writer = Recorder()
        folder = tmp_path_factory.mktemp("report")
        with pytest.MonkeyPatch.context() as patch:
            if not photos and not fields:
                tiny_run.leave_out_drawing(patch)
            page.write_report(epath.Path(folder), outcome, shown, writer)
        return folder, outcome, writer

    return make


@pytest.mark.parametrize(
    "fields",
    [{}, {"classes": 30, "each": 3, "leave_one_out": False}],
    ids=["two", "many, k-fold alone"],
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
    warnings = cautions.warnings(outcome)
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
    probabilities, labels = outcome.candidates[0].leave_one_out.probabilities, outcome.photos.labels
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


def test_parts_that_were_not_computed_are_left_out(make_outcome, tmp_path):
    outcome = dataclasses.replace(
        make_outcome(), permutation=None, learning_curve=(), differences=()
    )
    report = page.report_page(epath.Path(tmp_path), outcome, None)
    for text in (report.html(), report.markdown()):
        assert "How far can this be trusted" not in text
        assert "Is one of them better" not in text


def test_summaries_have_the_numbers(written):
    _, outcome, writer = written()
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
        outcome = with_candidate(outcome, position, name=evil + candidate.name, source=evil)
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
        {"classes": 30, "each": 3, "leave_one_out": False},
    ],
    ids=["two", "many"],
)
def test_report_fits_at_every_width_in_both_schemes_and_on_paper(written, browser, fields):
    folder, outcome, _ = written(**fields)
    assert browser.faults(folder / "report.html") == []
    browser.open(folder / "report.html", 1280)
    said = browser.value("document.querySelector('.verdict').innerText").replace("\xa0", " ")
    assert said == sentences.summary_sentences(outcome)[0]
