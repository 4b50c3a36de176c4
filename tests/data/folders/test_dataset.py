"""Data sets of a user's own: what is stored, how it is divided, and what is refused."""

import csv

import numpy as np
import pytest
from own_data import SPEC
from PIL import Image

from cifsel.data.folders import dataset as own
from cifsel.data.folders import store
from cifsel.errors import UserError


def picture(seed, size=(60, 48)):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def fill(root, classes=("ants", "bees"), count=10, first=0):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture(first + 1000 * number + i).save(root / name / f"{i}.png")
    return root


def load(source, **changes):
    return own.load_folder(own.dataclasses.replace(SPEC, source=str(source), **changes))


def names(dataset, part):
    return [dataset.names[i] for i in getattr(dataset, part).ids]


def test_images_are_squares_with_labels_and_names(tmp_path):
    dataset = load(fill(tmp_path))
    assert dataset.class_names == ("ants", "bees")
    assert [len(getattr(dataset, part)) for part in own.PARTS] == [12, 4, 4]
    for part in own.PARTS:
        split = getattr(dataset, part)
        for image, label, name in zip(
            split.images, split.labels, names(dataset, part), strict=True
        ):
            folder, file = name.split("/")
            assert folder == dataset.class_names[label]
            original = np.asarray(Image.open(tmp_path / folder / file))
            np.testing.assert_array_equal(image, store.SQUARES["crop"](original, 40))


def test_the_middle_is_cut_out_or_grey_is_added():
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 255
    assert (store.SQUARES["crop"](pixels, 20) == 255).all()
    padded = store.SQUARES["pad"](pixels, 20)
    assert (padded[:5] == 128).all()
    assert (padded[8:12, 7:13] == 255).all()


def test_a_second_start_reads_the_store_and_a_damaged_one_is_made_again(
    tmp_path, cache, monkeypatch, capsys
):
    first = load(fill(tmp_path))
    monkeypatch.setattr(own, "decode", None)
    assert load(tmp_path).fingerprint == first.fingerprint
    (pixels,) = cache.glob("images/*/pixels.u8")
    content = bytearray(pixels.read_bytes())
    content[1000] ^= 1
    pixels.write_bytes(content)
    monkeypatch.undo()
    monkeypatch.setenv("CIFSEL_CACHE", str(cache))
    assert load(tmp_path).fingerprint == first.fingerprint
    assert "damaged" in capsys.readouterr().err


def test_a_changed_file_is_read_anew(tmp_path):
    first = load(fill(tmp_path))
    picture(77).save(tmp_path / "ants" / "0.png")
    assert load(tmp_path).fingerprint != first.fingerprint


def test_large_sets_stay_on_disk(tmp_path, monkeypatch):
    small = load(fill(tmp_path))
    monkeypatch.setattr(own, "_IN_MEMORY_BYTES", 1000)
    large = load(tmp_path)
    assert large.fingerprint == small.fingerprint
    for part in own.PARTS:
        on_disk, in_memory = getattr(large, part), getattr(small, part)
        assert on_disk.images.shape == in_memory.images.shape
        np.testing.assert_array_equal(on_disk.images[:], in_memory.images)
        picked = np.array([[1, 0], [2, 2]])
        np.testing.assert_array_equal(on_disk.images[picked], in_memory.images[picked])
        np.testing.assert_array_equal(on_disk.at(picked[0]).images[1], in_memory.images[0])


def test_copies_bursts_and_groups_stay_together(tmp_path):
    fill(tmp_path, count=20)
    picture(3).resize((200, 160)).save(tmp_path / "ants" / "copy.jpg", quality=80)
    for i, minute in enumerate((0, 0, 0, 30)):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[36867] = f"2026:01:01 10:{minute:02}:0{i}"
        picture(500 + i).save(tmp_path / "bees" / f"timed{i}.jpg", exif=exif)
    dataset = load(tmp_path)
    group = dict(zip(dataset.names, dataset.groups.tolist(), strict=True))
    assert group["ants/copy.jpg"] == group["ants/3.png"]
    timed = [group[f"bees/timed{i}.jpg"] for i in range(4)]
    assert len(set(timed[:3])) == 1
    assert timed[3] != timed[0]
    part_of = {dataset.names[i]: part for part in own.PARTS for i in getattr(dataset, part).ids}
    for name, number in group.items():
        assert {part_of[other] for other, n in group.items() if n == number} == {part_of[name]}
    assert load(tmp_path, burst_seconds=-1.0).groups.max() > dataset.groups.max()


def test_groups_of_a_list_stay_together(tmp_path):
    fill(tmp_path, count=12)
    rows = ["path,label,group"]
    rows += [f"{k}/{i}.png,{k},person{i // 3}" for k in ("ants", "bees") for i in range(12)]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    dataset = load(tmp_path / "x.csv")
    assert dataset.groups.max() == 3
    for part in own.PARTS:
        assert len(getattr(dataset, part)) % 6 == 0


def test_given_parts_are_kept_and_missing_ones_are_made(tmp_path):
    for part, count in (("train", 10), ("valid", 4), ("test", 3)):
        fill(tmp_path / "all" / part, count=count, first=10 * len(part))
    dataset = load(tmp_path / "all")
    assert [len(getattr(dataset, part)) for part in own.PARTS] == [20, 8, 6]
    assert all(name.startswith("valid/") for name in names(dataset, "val"))


def test_of_two_parts_the_second_is_for_testing(tmp_path, capsys):
    for part, count in (("train", 10), ("val", 4)):
        fill(tmp_path / part, count=count, first=10 * len(part))
    dataset = load(tmp_path)
    assert [len(getattr(dataset, part)) for part in own.PARTS] == [16, 4, 8]
    assert all(name.startswith("val/") for name in names(dataset, "test"))
    assert "val is the test part" in capsys.readouterr().out


def test_a_split_can_be_given_back(tmp_path):
    first = load(fill(tmp_path / "images"), seed=3)
    with (tmp_path / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows(own.split_rows(first))
    again = load(tmp_path / "images", split=str(tmp_path / "split.csv"))
    assert again.fingerprint == first.fingerprint
    picture(9).save(tmp_path / "images" / "ants" / "new.png")
    with pytest.raises(UserError, match=r"no line for ants/new.png"):
        load(tmp_path / "images", split=str(tmp_path / "split.csv"))


# --- what cannot be used --------------------------------------------------------------------------


def test_unreadable_images_are_named_and_left_out_only_if_that_is_asked_for(tmp_path, capsys):
    fill(tmp_path)
    (tmp_path / "ants" / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=r"1 of 21 files cannot be used \(ants/notes.txt.*skip_un"):
        load(tmp_path)
    assert len(load(tmp_path, skip_unreadable=True).train) == 12
    assert "left out: ants/notes.txt" in capsys.readouterr().err


def test_a_file_in_no_class_is_named(tmp_path):
    fill(tmp_path)
    picture(5).save(tmp_path / "lost.png")
    with pytest.raises(
        UserError, match=r"1 of 21 files cannot be used \(lost.png: not in the fold"
    ):
        load(tmp_path)
    assert load(tmp_path, skip_unreadable=True).class_names == ("ants", "bees")


def test_a_placeholder_among_photos_is_named(tmp_path):
    fill(tmp_path, count=15)
    placeholder = Image.new("RGB", (60, 60), "white")
    placeholder.paste("black", (20, 20, 40, 40))
    placeholder.convert("P").save(tmp_path / "ants" / "imageNotFound.gif")
    with pytest.raises(UserError, match=r"imageNotFound.gif: a drawing of few colours"):
        load(tmp_path)


def test_a_data_set_of_drawings_is_not_refused(tmp_path):
    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(6):
            image = Image.new("RGB", (60, 60), "white")
            image.paste("black", (5 + 4 * i, 10 + 20 * number, 25 + 4 * i, 40))
            image.save(tmp_path / name / f"{i}.png")
    assert len(load(tmp_path).names) == 12


def test_the_same_image_in_two_classes_is_named(tmp_path):
    fill(tmp_path)
    picture(3).save(tmp_path / "bees" / "wrong.png")
    with pytest.raises(UserError, match=r"ants/3.png of class 'ants' and bees/wrong.png of class"):
        load(tmp_path)


def test_a_class_that_a_part_lacks_is_named(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", classes=("ants",), first=50)
    with pytest.raises(UserError, match="the test part has no image of class 'bees'"):
        load(tmp_path)


def test_too_few_images(tmp_path):
    fill(tmp_path, count=2)
    with pytest.raises(UserError, match=r"class 'ants' has 2 images.*3 parts needs 3"):
        load(tmp_path)


def test_a_full_disk_is_one_line(tmp_path, cache, monkeypatch):
    fill(tmp_path)
    (cache / "images").write_text("in the way")
    with pytest.raises(UserError, match=r"images cannot be stored in .*CIFSEL_CACHE"):
        load(tmp_path)
