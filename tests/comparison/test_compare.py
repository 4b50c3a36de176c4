"""The command on finished runs, and its report in a real browser."""

import html
import json
import re
import shutil

import numpy as np
import pytest
from etils import epath
from PIL import Image

from cifsel import build, workdir
from cifsel.comparison import comparing, findings, report
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.report import Report, make_page
from cifsel.comparison.results import best_run
from cifsel.comparison.runs import read_run
from cifsel.data import drawn_images, splits
from cifsel.errors import UserError
from cifsel.prediction import gradcam
from cifsel.reports.page import Table

pytestmark = pytest.mark.slow

GALLERIES = {"confused_1", "confused_2", "only_1", "attention", "duplicates"}
CHARTS = {
    "accuracy_by_seed",
    "accuracy_against_cost",
    "training_curves",
    "per_coarse",
    "per_class",
    "reliability",
    "confusion_matrix_1",
    "confusion_matrix_2",
}


@pytest.fixture(scope="module")
def stand_ins(build_tiny, dataset):
    """The tiny model, and images one of which is in training as well."""
    train = splits.Split(dataset.train.images.copy(), dataset.train.labels, dataset.train.ids)
    train.images[5] = dataset.test.images[17]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "build", build_tiny)
        drawn = splits.Dataset(**{**vars(dataset), "train": train})
        patch.setattr(drawn_images, "draw_classes", lambda **_: drawn)
        for module in (findings, report):
            patch.setattr(module, "may_have_copies", lambda _: True)
        yield


@pytest.fixture(scope="module")
def runs_of_both(make_run, tmp_path_factory):
    """Two seeds of each model, in one folder."""
    root = tmp_path_factory.mktemp("task1")
    mistakes = {"mobilenet": np.arange(0, 98, 3), "efficientnetv2-b0": np.arange(0, 98, 7)}
    folders = [
        make_run(root / f"{model}-{seed}", model, {"val": wrong + seed, "test": wrong}, seed=seed)
        for model, wrong in mistakes.items()
        for seed in (0, 1)
    ]
    return root, folders


@pytest.fixture(scope="module")
def people(dataset, tmp_path_factory):
    """Returns votes on the labels of three images. All runs are wrong on images 0 and 21."""
    answers = {0: "no", 1: "no", 21: "yes"}
    lines = [f"{dataset.test.ids[at]},{answer}" for at, answer in answers.items()]
    file = tmp_path_factory.mktemp("people") / "people.csv"
    file.write_text("test_index,confirmed\n" + "\n".join(lines))
    return str(file)


@pytest.fixture(scope="module")
def compared(stand_ins, runs_of_both, people):
    """The folder of a comparison, and its result."""
    root, folders = runs_of_both
    return root, comparing.compare(folders, str(root), people)


def test_result_is_on_disk_as_returned(compared):
    root, result = compared
    text = (root / comparing.COMPARISON).read_text()
    assert json.loads(text, parse_constant=pytest.fail) == json.loads(json.dumps(result.to_json()))
    assert result.chosen == "EfficientNetV2-B0"
    assert [entry.name for entry in result.candidates] == ["MobileNet", "EfficientNetV2-B0"]
    assert result.differences["test"].mean == pytest.approx((33 - 14) / 100)
    assert len(result.per_coarse) == 10
    assert result.differing_fields == {"model": ["mobilenet", "efficientnetv2-b0"]}


SCORES = ["accuracy", "loss", "top5", "macro_f1", "ece"]
SCORES += ["balanced_accuracy", "majority", "coarse_accuracy"]
COST = ["parameters", "flops_per_image", "views_per_image", "images_per_second"]
DIFFERENCE = ["mean", "low", "high", "p", "from_images", "from_seeds"]


def test_comparison_json_keeps_its_keys_and_their_order(compared):
    root, _ = compared
    content = json.loads((root / comparing.COMPARISON).read_text())
    assert list(content) == [
        *("verdict", "on_test", "chosen", "rival", "within_noise", "differences", "candidates"),
        *("per_coarse", "differing_fields", "duplicates", "suspects", "fingerprint", "inputs"),
        "reviewed",
    ]
    assert list(content["differences"]) == ["val", "test"]
    candidate, coarse = content["candidates"][0], content["per_coarse"][0]
    assert list(candidate) == ["name", "runs", "val", "test", "cost"]
    assert list(candidate["cost"]) == [*COST, "fitting_seconds", "total_seconds"]
    assert list(coarse) == ["name", "examples", "a", "b", "difference"]
    for split in ("val", "test"):
        assert list(content["differences"][split]) == DIFFERENCE
        assert list(candidate[split]) == SCORES
        assert list(candidate[split]["accuracy"]) == ["mean", "low", "high", "by_seed", "spread"]
    assert list(coarse["difference"]) == DIFFERENCE
    assert list(content["duplicates"][0]) == ["test_id", "similarity", "exact"]
    assert list(content["suspects"][0]) == ["test_id", "label", "predicted", "probability"]


def test_labels_that_people_rejected_are_left_out_of_a_second_accuracy(compared, people):
    root, result = compared
    content = json.loads((root / comparing.COMPARISON).read_text())["reviewed"]
    assert (content["file"], content["images"]) == (people, 98)
    # MobileNet is wrong on 33 images. One of the two that are left out is among them.
    assert content["accuracy"]["MobileNet"]["mean"] == pytest.approx(1 - 32 / 98)
    assert (content["all"]["rejected"], content["all"]["looked_at"]) == (2, 3)
    assert (content["suspects"]["rejected"], content["suspects"]["looked_at"]) == (1, 2)
    for page in ("report.html", "report.md"):
        # Some spaces are such that no line breaks there.
        text = " ".join(html.unescape((root / page).read_text()).split())
        assert "test accuracy on the 98 images whose label people did not reject" in text
        assert result.reviewed.sentence() in text
        assert f"--reviewed={people}" in text
    # The Markdown has no pictures.
    assert "people reject the label" in (root / "report.html").read_text().replace("\xa0", " ")


def test_best_json_keeps_its_keys_and_their_order(compared):
    assert list(json.loads((compared[0] / workdir.BEST).read_text())) == [
        *("run", "checkpoint", "model", "image_size", "resize", "class_names"),
        *("validation_accuracy", "test_accuracy"),
    ]


def test_known_duplicate_is_listed(compared, dataset):
    _, result = compared
    exact = [entry.test_id for entry in result.duplicates if entry.exact]
    assert exact == [int(dataset.test.ids[17])]


def test_label_errors_are_suspected_where_all_runs_contradict(compared, dataset):
    _, result = compared
    # Both models and all seeds are wrong where both step widths meet.
    expected = {int(dataset.test.ids[i]) for i in range(0, 98, 21)}
    assert {entry.test_id for entry in result.suspects} == expected


def test_best_json_leads_to_the_best_seed_wherever_the_folder_goes(compared, dataset):
    root, _ = compared
    best = json.loads((root / workdir.BEST).read_text())
    assert best["model"] == "efficientnetv2-b0"
    assert best["run"] == "efficientnetv2-b0-0"
    assert (root / best["run"] / best["checkpoint"]).is_dir()
    assert (best["image_size"], best["resize"]) == (32, "bicubic")
    assert best["class_names"] == list(dataset.class_names)


def test_runs_elsewhere_are_named_in_full(runs_of_both, tmp_path):
    root, _ = runs_of_both
    chosen = Candidate("EfficientNetV2-B0", (read_run(str(root / "efficientnetv2-b0-0")),))
    best = best_run(epath.Path(tmp_path / "report"), chosen)
    assert best.run == str(root / "efficientnetv2-b0-0")


def test_markdown_has_the_verdict_and_all_figures(compared):
    root, result = compared
    text = (root / "report.md").read_text()
    assert result.verdict in html.unescape(text)
    shown = set(re.findall(r"\(figures/(\w+)\.png\)", text))
    assert shown >= CHARTS | GALLERIES
    for name in shown:
        with Image.open(root / "figures" / f"{name}.png") as image:
            assert min(image.size) > 100
    tables = re.findall(r"^\|.*\|$", text, flags=re.MULTILINE)
    assert len(tables) > 20
    assert "> Drawn images: this program drew them." in text
    assert "|  | EfficientNetV2-B0 | MobileNet |" in text  # The better one first.
    assert "| test accuracy (95 % interval) | 86.00 % (" in text


def test_same_figures_go_to_tensorboard(compared):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # In a folder of its own, by which TensorBoard names it.
    folder = compared[0] / "comparison"
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert tags >= {f"figures/{name}" for name in CHARTS | GALLERIES}
    assert {tag for tag in tags if not tag.startswith("figures/")} == {"report"}
    assert not list(compared[0].glob("events*"))


def test_a_run_is_no_place_for_a_report(runs_of_both):
    _, folders = runs_of_both
    with pytest.raises(UserError, match=r"workdir of a run.*another --output"):
        comparing.compare(folders, folders[0])


def test_other_images_than_the_runs_saw_are_refused(stand_ins, runs_of_both, tmp_path, dataset):
    with pytest.MonkeyPatch.context() as patch:
        changed = splits.Dataset(**{**vars(dataset), "fingerprint": "0" * 64})
        patch.setattr(drawn_images, "draw_classes", lambda **_: changed)
        with pytest.raises(UserError, match=r"not those of .*000000000000.*TFDS_DATA_DIR"):
            comparing.compare(runs_of_both[1], str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_missing_checkpoint_is_named_before_anything_is_written(
    stand_ins, make_run, tmp_path, monkeypatch
):
    wrong = {"val": [1, 2], "test": [1, 2]}
    folders = [make_run(tmp_path / m, m, wrong) for m in ("mobilenet", "efficientnetv2-b0")]
    shutil.rmtree(tmp_path / "mobilenet" / "checkpoints")
    monkeypatch.setattr(gradcam, "heat", lambda _, images, __: np.ones((len(images), 1, 1)))
    with pytest.raises(UserError, match=r"mobilenet has no checkpoint"):
        comparing.compare(folders, str(tmp_path / "report"))
    assert not (tmp_path / "report").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    """The command makes one line of it, as of every UserError."""
    with pytest.raises(UserError) as caught:
        comparing.compare([str(tmp_path)] * 2, str(tmp_path / "report"))
    expected = f"{tmp_path} is no run (no metrics.json): give the --workdir of one"
    assert str(caught.value) == expected


# --- in a browser --------------------------------------------------------------------------------


def test_report_fits_at_every_width_in_both_schemes_and_on_paper(compared, browser):
    assert browser.faults(compared[0] / "report.html") == []


def test_page_says_the_verdict_and_shows_the_main_chart_first(compared, browser):
    browser.open(compared[0] / "report.html", 1280)
    text = browser.value("document.querySelector('.verdict').innerText")
    assert text.replace("\xa0", " ") == compared[1].verdict
    for part in (".verdict", "#main-chart"):
        bottom = f"document.querySelector('{part}').getBoundingClientRect().bottom"
        assert browser.value(bottom) <= 900
    whole = browser.value("document.body.innerText").replace("\xa0", " ")
    assert compared[1].on_test in whole
    for heading in (
        "Which network learns better from scratch? (drawn images)",
        "Where they look",
        "Suspected label errors",
        "Test images with a duplicate in training",
    ):
        assert heading in whole
    # The network's map of an image of 32 pixels is 2 x 2 or larger, or the report says so.
    assert browser.value("document.querySelectorAll('#attention .tile').length") == 12


def test_folded_parts_open_for_their_links(compared, browser):
    browser.open(compared[0] / "report.html", 1280)
    hidden = "[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash))"
    assert browser.value(f"{hidden}.length") == 0
    assert browser.value("document.querySelectorAll('details.section').length") >= 4


def test_names_from_files_cannot_become_markup(compared):
    """Class names, paths and commands come from files that others may have written."""
    evil = "<img src=x onerror=alert(1)>|_"
    table = Table((evil,), ((evil,),))
    report = Report(
        evil, evil, table, table, table, (), (), (evil,), table, (evil,), evil, drawn=False
    )
    page = make_page(report, evil)
    assert "<img src=x" not in page.html()
    markdown = page.markdown().partition("```")[0]
    assert "<img" not in markdown
    assert "| &lt;img src=x onerror=alert(1)&gt;\\|\\_ |" in markdown
