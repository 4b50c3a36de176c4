"""Folders around photos: wrappers, splits, downloads, and those that systems leave behind."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from cifsel.data.photos import labelled, layout
from cifsel.errors import UserError

COUNT = iter(range(1, 10_000_000))


def drawn():
    """A photo that differs from the others."""
    file = io.BytesIO()
    number = next(COUNT)
    colour = (number % 256, number // 256 % 256, number // 65536 % 256)
    Image.new("RGB", (16, 16), colour).save(file, "PNG")
    return file.getvalue()


def put(folder, *names):
    """Writes files: photos if they are named so, zips of what is listed after a '=', else text."""
    for text in names:
        name, is_zip, members = text.partition("=")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_zip:
            with zipfile.ZipFile(path, "w") as archive:
                for member in members.split():
                    archive.writestr(member, drawn() if member.endswith(".jpg") else b"no photo")
        else:
            path.write_bytes(drawn() if name.endswith(".jpg") else b"no photo")
    return folder


def read(source):
    """The names of photos by class."""
    photos = labelled.load_photos(str(source))
    assert photos.skipped == ()
    found = {name: [] for name in photos.class_names}
    for name, label in zip(photos.names, photos.labels, strict=True):
        found[photos.class_names[label]].append(name)
    return found


def refusal(source):
    with pytest.raises(UserError) as caught:
        labelled.load_photos(str(source))
    return str(caught.value)


TWO = ("happy/1.jpg", "happy/2.jpg", "sad/1.jpg", "sad/2.jpg")
READ = {"happy": ["happy/1.jpg", "happy/2.jpg"], "sad": ["sad/1.jpg", "sad/2.jpg"]}


def below(folder, names=TWO):
    return [f"{folder}/{name}" for name in names]


@pytest.mark.parametrize(
    "name", ["selfies (1).zip", "selfies-20261129T201500Z-001.zip", "selfies.zip", "x.ZIP"]
)
@pytest.mark.parametrize("wrapper", ["", "selfies/", "home/me/selfies/"])
def test_zip_with_any_wrapper(tmp_path, name, wrapper):
    members = [wrapper + photo for photo in TWO]
    members += ["__MACOSX/selfies/._1.jpg", f"{wrapper}.DS_Store", "Thumbs.db"]
    put(tmp_path, f"{name}={' '.join(members)}")
    assert read(tmp_path / name) == READ
    assert read(tmp_path) == READ  # the zip is alone in its folder


@pytest.mark.parametrize("wrapper", ["selfies", "selfies (1)/selfies", "a/b/c"])
def test_folder_with_wrappers(tmp_path, wrapper):
    put(tmp_path, *below(wrapper), "Thumbs.db", ".DS_Store", "__MACOSX/._x.jpg", f"{wrapper}/x.xmp")
    assert read(tmp_path) == READ


def test_zips_of_classes_in_a_wrapper(tmp_path):
    put(tmp_path, "selfies/happy12.zip=1.jpg 2.jpg", "selfies/sad.zip=1.jpg 2.jpg")
    assert list(read(tmp_path)) == ["happy", "sad"]


def test_a_file_beside_a_wrapper_is_named(tmp_path):
    put(tmp_path, *below("selfies"), "README.txt")
    assert "README.txt: not in the folder of a class" in refusal(tmp_path)
    photos = labelled.load_photos(str(tmp_path), skip_unreadable=True)
    assert photos.class_names == ("happy", "sad")


def test_one_class_in_a_wrapper_stays_one_class(tmp_path):
    put(tmp_path, "selfies/happy/1.jpg", "selfies/happy/2.jpg")
    assert "one class, 'selfies'; expected a sub-folder or zip" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        # Drive packs each folder by itself.
        (["happy-20261129T201500Z-001.zip=happy/1.jpg happy/2.jpg",
          "sad-20261129T201501Z-001.zip=sad/1.jpg sad/2.jpg"], ["happy", "sad"]),
        (["happy-20261129T201500Z-1-001.zip=1.jpg 2.jpg",
          "sad-20261129T201501Z-1-001 (2).zip=1.jpg 2.jpg"], ["happy", "sad"]),
        # And in several parts if it is large.
        (["happy-20261129T201500Z-001.zip=happy/1.jpg",
          "happy-20261129T201500Z-002.zip=happy/2.jpg", "sad.zip=1.jpg 2.jpg"], ["happy", "sad"]),
        # As Windows unpacks them.
        (["happy-20261129T201500Z-001/happy/1.jpg", "happy-20261129T201500Z-001/happy/2.jpg",
          "sad (1)/sad/1.jpg", "sad (1)/sad/2.jpg"], ["happy", "sad"]),
        (["download.zip=happy/1.jpg happy/2.jpg", "download (1).zip=me/sad/1.jpg me/sad/2.jpg"],
         ["happy", "sad"]),
        # The zip says more than the folder in it.
        (["happy.zip=photos/1.jpg photos/2.jpg", "sad.zip=photos/1.jpg photos/2.jpg"],
         ["happy", "sad"]),
        (["happy12.zip=happy12/1.jpg happy12/2.jpg", "sad.zip=sad/anna/1.jpg sad/anna/2.jpg"],
         ["happy", "sad"]),
        # No download.
        (["happy12/x/1.jpg", "happy12/x/2.jpg", "sad 2026/1.jpg", "sad 2026/2.jpg"],
         ["happy12", "sad 2026"]),
    ],
)  # fmt: skip
def test_classes_of_downloads(tmp_path, files, classes):
    put(tmp_path, *files)
    assert list(read(tmp_path)) == classes
    names = dict.fromkeys(name.partition("=")[0].partition("/")[0] for name in files)
    assert list(read(",".join(str(tmp_path / name) for name in names))) == classes


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("Train", "Valid"), ("training", "test"), ("train", "validation")],
)
@pytest.mark.parametrize("wrapper", ["", "data/", "data.zip="])
def test_splits_are_no_classes(tmp_path, capsys, train, val, wrapper):
    names = [f"{train}/ants/1.jpg", f"{train}/ants/2.jpg", f"{train}/bees/1.jpg"]
    names += [f"{val}/bees/1.jpg", f"{val}/bees/nest/3.jpg"]
    if wrapper.endswith("="):
        put(tmp_path, wrapper + " ".join(names))
    else:
        put(tmp_path, *[wrapper + name for name in names])
    assert read(tmp_path) == {"ants": names[:2], "bees": sorted(names[2:])}
    assert "is split into train and" in capsys.readouterr().out


def test_zips_of_splits_are_no_classes(tmp_path):
    put(tmp_path, f"train.zip={' '.join(below('train'))}", f"test.zip={' '.join(TWO)}")
    photos = read(tmp_path)
    assert photos["happy"][:2] == ["test.zip/happy/1.jpg", "test.zip/happy/2.jpg"]
    assert [len(names) for names in photos.values()] == [4, 4]


def test_photos_of_a_split_without_a_class_are_named(tmp_path):
    put(tmp_path, *below("train"), "test/1.jpg")
    assert "test/1.jpg: not in the folder of a class" in refusal(tmp_path)


def test_splits_without_classes_are_refused(tmp_path):
    put(tmp_path, "train/1.jpg", "train/2.jpg", "val/1.jpg", "val/2.jpg")
    assert "4 files, no classes in the splits train and val; expected" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["train/a/1", "val/a/1"], {"train": "train", "val": "val"}),
        (["train/a/1", "valid/b/1", "test/c/1", "README"],
         {"train": "train", "valid": "val", "test": "test"}),
        (["train/1", "bus/1"], {}),  # vehicles
        (["train/a/1"], {}),
        (["a/train/1", "a/val/1", "b/train/1"], {}),
        ([], {}),
    ],
)  # fmt: skip
def test_recognition_of_splits(paths, splits):
    assert layout.split_folders([path.split("/") for path in paths]) == splits


@pytest.mark.parametrize(
    "litter",
    [
        "@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
        ".thumbnails/1.jpg",
        ".@__thumb/1.jpg",
        "#recycle/1.jpg",
        "@Recycle/1.jpg",
        "$RECYCLE.BIN/1.jpg",
        "System Volume Information/1.jpg",
        "__MACOSX/._1.jpg",
        "._1.jpg",
        "Lightroom Catalog Previews.lrdata/0/1.jpg",
        "ehthumbs.db",
        "1.xmp",
        "IMG_1.AAE",
        "MVI_1.THM",
    ],
)
def test_what_is_left_behind_is_no_photo(tmp_path, litter):
    put(tmp_path / "album", *TWO, litter, f"happy/{litter}", f"sad/more/{litter}")
    assert read(tmp_path / "album") == READ
    members = " ".join([*TWO, *([litter, f"happy/{litter}"] if " " not in litter else [])])
    put(tmp_path, f"z.zip={members}")
    assert read(tmp_path / "z.zip") == READ


@pytest.mark.parametrize("name", ["", "/", "./", "."])
def test_a_member_without_a_name(tmp_path, name):
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for photo in TWO:
            archive.writestr(photo, drawn())
        archive.writestr(zipfile.ZipInfo("?"), b"")
        archive.infolist()[-1].filename = name
    assert read(path) == READ


def test_a_nameless_member_with_content_is_named(tmp_path):
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for photo in TWO:
            archive.writestr(photo, drawn())
        archive.writestr(zipfile.ZipInfo("?"), drawn())
        archive.infolist()[-1].filename = ""
    assert "(no name): a file without a name" in refusal(path)
    assert len(labelled.load_photos(str(path), skip_unreadable=True).names) == 4


def test_names_in_splits_and_wrappers_are_distinct(tmp_path):
    put(tmp_path, *below("data/train"), *below("data/val"))
    photos = labelled.load_photos(str(tmp_path))
    assert len(set(photos.names)) == 8
    assert np.bincount(photos.labels).tolist() == [4, 4]
