"""The report of task 2: what it says, what it must not show, and how it looks in a browser."""

import html
import re

import numpy as np
import pytest
from etils import epath
from PIL import Image

from cifsel.selfie.report import report, tables
from cifsel.workdir import summaries

CHARTS = {"accuracy", "confusion_matrix", "per_photo", "permutation", "learning_curve"}
CHARTS |= {"choices_1", "choices_2", "choices_3_epochs"}


class Recorder:
    """A writer that remembers."""

    def __init__(self):
        self.scalars, self.images, self.texts, self.histograms = {}, {}, {}, {}

    def write_scalars(self, step, scalars):
        self.scalars |= {(step, name): value for name, value in scalars.items()}

    def write_images(self, step, images):
        summaries.Summaries().write_images(step, images)  # which checks them
        self.images |= images

    def write_texts(self, step, texts):
        self.texts |= texts

    def write_histograms(self, step, arrays):
        self.histograms |= arrays

    def flush(self):
        pass


@pytest.fixture
def written(make_found, pictures, tmp_path):
    """(with photos, fields of make_found) -> folder, found, writer."""

    def make(photos=False, **fields):
        found = make_found(**fields)
        shown = pictures(found["photos"]["count"]) if photos else (None, None)
        writer = Recorder()
        report.write(epath.Path(tmp_path), found, *shown, writer)
        return tmp_path, found, writer

    return make


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


@pytest.mark.parametrize(
    "fields",
    [{}, {"classes": 3}, {"leave_one_out": False}, {"classes": 12, "each": 5}],
    ids=["two", "three", "k-fold alone", "many"],
)
def test_sentence_comes_first_and_all_figures_are_there(written, fields):
    folder, found, writer = written(**fields)
    text = (folder / "report.md").read_text()
    assert html.unescape(text.split("\n\n")[1]) == found["sentence"]
    assert set(re.findall(r"\(figures/(\w+)\.png\)", text)) == CHARTS == set(writer.images)
    assert {path.stem for path in (folder / "figures").iterdir()} == CHARTS
    assert writer.texts == {"report": text}
    page = (folder / "report.html").read_text()
    for said in (found["sentence"], *found["notes"], found["command"]):
        assert html.escape(said, quote=False) in page
    assert f"python -m cifsel.predict --checkpoint={folder} photo.jpg" in page
    assert ("the worst on top" in page) == (found["photos"]["count"] <= 40)
    assert ("leave-one-out" in page) == fields.get("leave_one_out", True)


def test_unless_asked_for_no_photo_is_in_anything(written):
    folder, _, writer = written()
    # Charts are drawn as vectors: the page has no picture at all.
    assert "<img" not in (folder / "report.html").read_text()
    for name in ("report.html", "report.md"):
        assert "--config.save_photos=True adds them" in (folder / name).read_text()
    assert "photos" not in writer.images


def test_photos_come_the_worst_first_with_what_was_said_of_them(written, pictures):
    folder, found, writer = written(photos=True)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 * 24
    assert "save_photos=True adds" not in page
    assert "hold the photos themselves" in page
    assert "photos" in writer.images
    shown, heat = pictures(24)
    gallery = report.page(epath.Path(folder), found, shown, heat).galleries[0]
    probabilities = np.asarray(found["candidates"][1]["leave_one_out"]["probabilities"])
    labels = np.array(found["photos"]["labels"])
    worst = int(np.argmin(probabilities[np.arange(24), labels]))
    first = gallery.tiles[0]
    np.testing.assert_array_equal(first.pictures[0], shown[worst])
    assert first.verdict == "wrong"
    assert first.notes[-1] == found["photos"]["names"][worst]
    right = (probabilities.argmax(1) == labels).sum()
    assert sum(tile.verdict == "right" for tile in gallery.tiles) == right
    assert all((tile.verdict == "right") == tile.notes[0].startswith("✓") for tile in gallery.tiles)
    with Image.open(folder / "figures" / "photos.png") as image:
        assert min(image.size) > 400


def test_large_photos_are_reduced_and_of_many_the_worst_are_shown(make_found, pictures):
    found = make_found(each=30)
    shown, _ = pictures(60, size=256)
    (gallery,) = report.page(epath.Path("x"), found, shown, None).galleries
    assert len(gallery.tiles) == report.SHOWN
    assert f"The first {report.SHOWN} of 60." in gallery.explanation
    assert {tile.pictures[0].shape[0] for tile in gallery.tiles} == {report.SIDE}
    assert {len(tile.pictures) for tile in gallery.tiles} == {1}


def test_tables_say_what_was_found(make_found):
    found = make_found()
    found["candidates"][0]["kfold"] |= {
        "right": 15.35,
        "accuracy": 15.35 / 24,
        "accuracy_interval": [0.43, 0.79],
        "auc": None,
    }
    found["candidates"][2]["kfold"]["repeats"] = 1
    (_, once), (heading, repeated) = tables.scores(found)
    assert "20 times" in heading
    assert rows(repeated)["task-1 checkpoint, probe"][:2] == ("15.3 of 24 (64 %)", "43 % to 79 %")
    assert "ImageNet weights, fine-tuned (once only)" in rows(repeated)
    assert "not defined" in rows(repeated)["task-1 checkpoint, probe"]
    assert "ImageNet weights, probe (chosen)" in rows(once)
    assert rows(once)["guessing, for comparison"] == (
        "12 of 24 (50 %)",
        "",
        "50 %",
        "0.50",
        f"{np.log(2):.2f}",
    )
    in_words = [row[-1] for row in tables.differences(found).rows]
    assert in_words == ["may be chance", "ImageNet weights, probe is better"]


def test_guessing_of_unequal_classes_is_the_most_frequent_one(make_found):
    found = make_found()
    found["photos"]["per_class"] = {"happy": 18, "sad": 6}
    assert tables.guessing(found) == 0.75
    (_, table), _ = tables.scores(found)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    guessing = rows(table)["guessing, for comparison"]
    assert guessing == ("18 of 24 (75 %)", "", "50 %", "0.50", f"{entropy:.2f}")


def test_mistakes_are_those_of_the_chosen_candidate(make_found):
    found = make_found()
    score = found["candidates"][1]["leave_one_out"]
    heading, table = tables.mistakes(found)
    assert heading == "What it got wrong"
    assert len(table.rows) == 24 - score["right"]
    certain = np.eye(2)[found["photos"]["labels"]]
    score["probabilities"] = certain.tolist()
    assert tables.mistakes(found) == ("It got nothing wrong", None)
    score["probabilities"] = (1 - certain).tolist()
    heading, table = tables.mistakes(found)
    assert heading == "What it got wrong: the worst 15 of 24"
    assert table.rows[0] == ("happy/IMG_1000.jpg", "happy", "sad (100 %)")


@pytest.mark.parametrize(
    ("p", "interval", "expected"),
    [
        (0.004, [0.48, 0.52], "not clearly more than guessing.* hardly luck"),
        (0.03, [0.48, 0.52], "probably not luck"),
        (0.3, [0.48, 0.52], "possibly no more than luck"),
        (0.004, [0.51, 0.57], "not clearly more than guessing"),
        (0.004, [0.55, 0.61], "do not trust this report"),
    ],
)
def test_luck_in_words(make_found, p, interval, expected):
    found = make_found()
    found["permutation"] |= {"p": p, "mean": sum(interval) / 2, "interval": interval}
    assert re.search(expected, tables.luck(found))


def test_when_it_is_unsure(make_found):
    found = make_found()
    assert "below 71 %" in tables.unsure(found)
    found["final"]["sure_from"] = None
    assert "“unsure” to every photo" in tables.unsure(found)


def test_what_was_read(make_found):
    found = make_found()
    cells = rows(tables.photos(found))
    assert cells["photos"] == ("24: 12 happy, 12 sad",)
    assert cells["copies (=) and near copies (≈)"] == ("happy/IMG_1000.jpg ≈ happy/IMG_1007.jpg",)
    assert cells["what the model is shown"][0].endswith("no face was found in sad/IMG_1161.jpg")
    found["photos"] |= {"crop": "none", "copies": [], "skipped": [f"{i}.txt" for i in range(7)]}
    cells = rows(tables.photos(found))
    assert cells["copies (=) and near copies (≈)"] == ("none",)
    assert cells["passed over"] == ("0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more",)
    assert "face" not in cells["what the model is shown"][0]


def test_a_fine_tuned_final_model_has_no_layer(make_found):
    found = make_found()
    found["chosen"] = 2
    found["final"] = {"epochs": 20, "layer": None, "temperature": 0.8, "sure_from": None}
    cells = rows(tables.final(found))
    assert cells["settings"] == ("20 epochs",)
    assert "too timid" in cells["its probabilities"][0]


def test_what_was_not_done_is_left_out(make_found, tmp_path):
    found = make_found()
    found |= {"permutation": None, "learning_curve": [], "differences": [], "notes": []}
    page = report.page(epath.Path(tmp_path), found, None, None)
    report.write(epath.Path(tmp_path), found, None, None, Recorder())
    for text in (page.html(), page.markdown()):
        assert "How far can this be trusted" not in text
        assert "Is one of them better" not in text


def test_summaries_have_the_numbers(written):
    _, found, writer = written()
    chosen = found["candidates"][1]
    name = f"leave_one_out_accuracy/{chosen['name']}"
    assert writer.scalars[0, name] == chosen["leave_one_out"]["accuracy"]
    curve = {step: v for (step, name), v in writer.scalars.items() if name.startswith("learning")}
    assert curve == {round(p["photos"]): p["accuracy"] for p in found["learning_curve"]}
    assert len(writer.histograms["permutation/accuracies"]) == 200


def test_names_from_files_cannot_become_markup(make_found, tmp_path):
    evil = "<img src=x onerror=alert(1)>|_"
    found = make_found()
    about = found["photos"]
    about |= {"class_names": [evil, "sad"], "names": [evil] * 24, "skipped": [evil]}
    about |= {"per_class": {evil: 12, "sad": 12}, "copies": [[evil, evil, True]]}
    found |= {"sentence": evil, "notes": [evil], "command": evil}
    for one in found["candidates"]:
        one |= {"name": evil + one["method"], "source": evil}
    page = report.page(epath.Path(f"/{evil}"), found, None, None)
    assert "<img" not in page.html()
    # Code in Markdown is shown as it is.
    assert "<img" not in re.sub(r"```.*?```", "", page.markdown(), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("width", "scheme", "fields"),
    [
        (1280, "light", {"photos": True}),
        (1280, "dark", {"classes": 3, "each": 6}),
        (390, "light", {"photos": True, "classes": 12, "each": 4}),
        (390, "dark", {"leave_one_out": False}),
    ],
)
def test_page_is_whole_and_can_be_read(written, browser, width, scheme, fields):
    folder, found, _ = written(**fields)
    path = folder / "report.html"
    console, asked = browser.open(path, width, scheme)
    assert console == []
    assert asked == [path.as_uri()]
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.value(broken) == 0
    assert browser.value("document.querySelector('.verdict').innerText") == found["sentence"]
    # Wide tables scroll in themselves; the page does not.
    assert browser.value("document.documentElement.scrollWidth") == width
    ratios = browser.contrasts()
    assert len(ratios) > 50
    assert min(ratios) >= 4.5
