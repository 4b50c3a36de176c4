"""The command on finished runs, and its report in a real browser."""

import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cifsel import compare, prepare
from cifsel.comparison import gradcam
from cifsel.data import splits, synthetic
from cifsel.errors import UserError

WIDTHS = {"phone": 390, "wide": 1280}
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
def stand_ins(quick_compiling, build_tiny, dataset):
    """The tiny model, and images one of which is in training as well."""
    train = splits.Split(dataset.train.images.copy(), dataset.train.labels, dataset.train.ids)
    train.images[5] = dataset.test.images[17]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", build_tiny)
        drawn = splits.Dataset(**{**vars(dataset), "train": train})
        patch.setattr(synthetic, "drawn_classes", lambda **_: drawn)
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
def compared(stand_ins, runs_of_both):
    """The folder of a comparison, and what it returned."""
    root, folders = runs_of_both
    return root, compare.compare(folders, str(root))


def test_result_is_on_disk_as_returned(compared):
    root, result = compared
    text = (root / compare.COMPARISON).read_text()
    assert json.loads(text, parse_constant=pytest.fail) == json.loads(json.dumps(result))
    assert result["chosen"] == "EfficientNetV2-B0"
    assert [one["name"] for one in result["candidates"]] == ["MobileNet", "EfficientNetV2-B0"]
    assert result["differences"]["test"]["mean"] == pytest.approx((33 - 14) / 100)
    assert len(result["per_coarse"]) == 10
    assert result["differing_fields"] == {"model": ["mobilenet", "efficientnetv2-b0"]}


def test_known_twin_is_found(compared, dataset):
    _, result = compared
    exact = [one for one in result["duplicates"] if one["exact"]]
    assert [one["test_id"] for one in exact] == [int(dataset.test.ids[17])]


def test_suspects_are_what_all_runs_contradict(compared, dataset):
    _, result = compared
    # Both models and all seeds are wrong where both step widths meet.
    expected = {int(dataset.test.ids[i]) for i in range(0, 98, 21)}
    assert {one["test_id"] for one in result["suspects"]} == expected


def test_best_json_leads_to_the_best_seed_wherever_the_folder_goes(compared, dataset):
    root, _ = compared
    best = json.loads((root / compare.BEST).read_text())
    assert best["model"] == "efficientnetv2-b0"
    assert best["run"] == "efficientnetv2-b0-0"
    assert (root / best["run"] / best["checkpoint"]).is_dir()
    assert (best["image_size"], best["resize"]) == (32, "bicubic")
    assert best["class_names"] == list(dataset.class_names)


def test_runs_elsewhere_are_named_in_full(stand_ins, runs_of_both, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "_write", lambda *_: None)
    root, folders = runs_of_both
    compare.compare(folders, str(tmp_path / "report"))
    best = json.loads((tmp_path / "report" / compare.BEST).read_text())
    assert best["run"] == str(root / "efficientnetv2-b0-0")


def test_markdown_has_the_verdict_and_all_figures(compared):
    root, result = compared
    text = (root / "report.md").read_text()
    assert result["verdict"] in html.unescape(text)
    shown = set(re.findall(r"\(figures/(\w+)\.png\)", text))
    assert shown >= CHARTS | GALLERIES
    for name in shown:
        with Image.open(root / "figures" / f"{name}.png") as image:
            assert min(image.size) > 100
    tables = re.findall(r"^\|.*\|$", text, flags=re.MULTILINE)
    assert len(tables) > 20
    assert "|  | EfficientNetV2-B0 | MobileNet |" in text  # The better one first.
    assert "| test accuracy (95 % interval) | 86.00 % (" in text


def test_same_figures_go_to_tensorboard(compared):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(compared[0]), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) >= CHARTS | GALLERIES | {"report"}


def test_a_run_is_no_place_for_a_report(runs_of_both):
    _, folders = runs_of_both
    with pytest.raises(UserError, match=r"workdir of a run.*another --output"):
        compare.compare(folders, folders[0])


def test_other_images_than_the_runs_saw_are_refused(stand_ins, runs_of_both, tmp_path, dataset):
    other = synthetic.drawn_classes()
    with pytest.MonkeyPatch.context() as patch:
        changed = splits.Dataset(**{**vars(other), "fingerprint": "0" * 64})
        patch.setattr(synthetic, "drawn_classes", lambda **_: changed)
        with pytest.raises(UserError, match=r"not those of .*000000000000.*TFDS_DATA_DIR"):
            compare.compare(runs_of_both[1], str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_missing_checkpoint_is_named_before_anything_is_written(
    stand_ins, make_run, tmp_path, monkeypatch
):
    wrong = {"val": [1, 2], "test": [1, 2]}
    folders = [make_run(tmp_path / m, m, wrong) for m in ("mobilenet", "efficientnetv2-b0")]
    shutil.rmtree(tmp_path / "mobilenet" / "checkpoints")
    monkeypatch.setattr(gradcam, "heat", lambda _, images, __: np.ones((len(images), 1, 1)))
    with pytest.raises(UserError, match=r"mobilenet has no checkpoint"):
        compare.compare(folders, str(tmp_path / "report"))
    assert not (tmp_path / "report").exists()


def test_command_says_what_is_wrong_in_one_line(tmp_path):
    command = [sys.executable, "-m", "cifsel.compare", str(tmp_path), str(tmp_path), "--output=x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == f"error: {tmp_path} is no run (no metrics.json): give the --workdir of one\n"
    )


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; skips where there is none."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver_binary = shutil.which("chromedriver")
    if not binary or not driver_binary:
        pytest.skip("no Chromium: install the packages chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="drives Chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_binary))
    yield driver
    driver.quit()


def open_report(browser, folder, width, scheme="light"):
    """Opens the report; returns what the console said and what was asked of the network."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for log in ("browser", "performance"):
        browser.get_log(log)  # Empties it.
    browser.get((folder / "report.html").as_uri())
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return browser.get_log("browser"), [url for url in asked if not url.startswith("data:")]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_page_is_whole_and_asks_for_nothing(compared, browser, width):
    console, asked = open_report(browser, compared[0], width)
    assert console == []
    assert asked == [(compared[0] / "report.html").as_uri()]
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert browser.execute_script("return document.images.length") > 50
    assert browser.execute_script("return document.querySelectorAll('figure svg').length") == 6
    # Wide tables and matrices scroll in themselves; the page does not.
    assert browser.execute_script("return document.documentElement.scrollWidth") == width


def test_page_says_the_verdict_first(compared, browser):
    open_report(browser, compared[0], WIDTHS["wide"])
    text = browser.execute_script("return document.querySelector('.verdict').innerText")
    assert text == compared[1]["verdict"]
    whole = browser.execute_script("return document.body.innerText")
    assert compared[1]["on_test"] in whole
    for heading in ("Where they look", "Labels to doubt", "Test images with a twin in training"):
        assert heading in whole


CONTRAST = """
const luminance = c => {
  const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const paper = luminance(getComputedStyle(document.body).backgroundColor);
return [...document.querySelectorAll('body, .note, tbody th, figure svg text')].map(e => {
  const style = getComputedStyle(e);
  const ink = luminance(e.closest('svg') ? style.fill : style.color);
  return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
});
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(compared, browser, scheme):
    """WCAG's contrast for normal text, of texts and of the labels of charts."""
    open_report(browser, compared[0], WIDTHS["wide"], scheme)
    ratios = browser.execute_script(CONTRAST)
    assert len(ratios) > 100
    assert min(ratios) >= 4.5
    background = "return getComputedStyle(document.body).backgroundColor"
    assert (
        browser.execute_script(background)
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(21, 23, 26)",
        }[scheme]
    )


def test_names_from_files_cannot_become_markup(compared):
    """Class names, paths and commands come from files that others may have written."""
    from cifsel.comparison import page
    from cifsel.comparison.content import Content
    from cifsel.comparison.tables import Table

    evil = "<img src=x onerror=alert(1)>|_"
    table = Table((evil,), ((evil,),))
    content = Content(evil, evil, table, table, table, (), (), (evil,), table, (evil,))
    written = page.as_html(content, evil)
    assert "<img" not in written.partition("<body>")[2]
    markdown = page.as_markdown(content, evil).partition("```")[0]
    assert "<img" not in markdown
    assert "| &lt;img src=x onerror=alert(1)&gt;\\|\\_ |" in markdown
