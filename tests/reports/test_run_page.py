"""The report of a single run: what it says, and how it looks in a browser."""

import dataclasses

import numpy as np
import pytest
from etils import epath
from PIL import Image

from cifsel.reports import run_page
from cifsel.training.progress import Progress
from cifsel.workdir.summaries import Summaries


def test_a_fine_tuning_below_its_start_is_said(metrics):
    (warning,) = run_page.warnings(metrics)
    assert "No epoch of fine-tuning was better than the probe" in warning
    assert "60.0 % of the validation images right, the probe 70.0 %" in warning


def test_no_warning_where_an_epoch_is_better_or_there_is_no_start(metrics):
    better = dataclasses.replace(metrics.training, best=metrics.training.history[0])
    without = dataclasses.replace(metrics.training, start=None)
    for training in (better, without, Progress()):
        assert run_page.warnings(dataclasses.replace(metrics, training=training)) == []


def test_samples_are_labelled_and_mixed_ones_with_both_labels(samples, dataset):
    captions = run_page.sample_captions(samples, dataset)
    names = dataset.class_names
    assert captions[:3] == [name.replace("_", " ") for name in names[:3]]
    assert captions[3] == f"{names[7]} 70 % + {names[3]} 30 %"


@pytest.fixture
def without_charts(monkeypatch):
    monkeypatch.setattr(run_page, "_charts", lambda *_: ())


def test_drawn_images_are_labelled_in_page_and_markdown(
    without_charts, metrics, dataset, logits, samples
):
    page = run_page.make_page(metrics, dataset, logits, samples)
    assert "EfficientNetV2-B0 on drawn, finetune (drawn images)" in page.html()
    assert page.note in page.html()
    assert "<figcaption>Drawn images</figcaption>" in page.html()
    assert f"> {page.note}" in page.markdown()
    real = dataclasses.replace(metrics, dataset="cifar100")
    assert run_page.make_page(real, dataset, logits, samples).note == ""


def test_sets_are_shown_by_coverage_and_by_coarse_label(
    without_charts, metrics, dataset, logits, samples
):
    page = run_page.make_page(metrics, dataset, logits, samples)
    html, markdown = page.html(), page.markdown()
    ninety = metrics.sets[1]
    low, high = (100 * end for end in ninety.interval)
    covered = f"{100 * ninety.coverage:.1f} % ({low:.1f} to {high:.1f})"
    assert covered in markdown
    assert covered.replace(" %", "\u00a0%") in html or covered in html
    assert markdown.count("| coarse label |") == 1
    assert "--coverage=0.9" in html
    without = dataclasses.replace(metrics, sets=())
    assert "When one answer" not in run_page.make_page(without, dataset, logits, samples).html()


def test_probe_says_that_it_saw_images_without_augmentation(
    without_charts, metrics, dataset, logits, samples
):
    for training, said in (
        (Progress(), "as the probe sees"),
        (metrics.training, "augmentation sh"),
    ):
        changed = dataclasses.replace(metrics, training=training)
        page = run_page.make_page(changed, dataset, logits, samples)
        assert said in page.galleries[1].explanation


@pytest.fixture(scope="module")
def written(metrics, dataset, logits, samples, tmp_path_factory):
    """The folder of the written report."""
    folder = tmp_path_factory.mktemp("report")
    page = run_page.make_page(metrics, dataset, logits, samples)
    page.write(epath.Path(folder), Summaries())
    return folder


@pytest.mark.slow
def test_every_picture_has_the_note_below_it(written):
    with Image.open(written / "figures" / "reliability.png") as image:
        last_rows = np.asarray(image)[-20:]
    assert last_rows.min() < 100
    assert (last_rows[:, :50] == 255).all()


@pytest.mark.slow
def test_report_fits_at_every_width_in_both_schemes_and_on_paper(written, browser):
    assert browser.faults(written / "report.html") == []


@pytest.mark.slow
def test_verdict_and_main_chart_are_on_the_first_screen(written, browser):
    browser.open(written / "report.html", 1280)
    for part in (".verdict", "#main-chart", "nav"):
        bottom = f"document.querySelector('{part}').getBoundingClientRect().bottom"
        assert browser.value(bottom) <= 900
    links = "[...document.querySelectorAll('nav a')].map(a => document.querySelector(a.hash))"
    assert browser.value(f"{links}.every(e => e)")


@pytest.mark.slow
def test_a_cell_of_the_matrix_says_classes_and_counts_when_tapped(written, browser):
    browser.open(written / "report.html", 390)
    visible = "[...document.querySelectorAll('.said')].filter(e => getComputedStyle(e).visibility"
    visible += " === 'visible' && e.getClientRects().length).map(e => e.textContent)"
    assert browser.value(visible) == []
    said = browser.value(f"(document.querySelector('.narrow .cell').focus(), {visible})")
    assert len(said) == 2
    assert "recognised" in said[0]
    assert "of 20 images" in said[1]
