"""Arrays kept in files, .npz and .npy, that are damaged, stale, or made to do harm."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from damage import CHANGES, changed
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from cifsel import workdir
from cifsel.data import cifar_cache
from cifsel.errors import UserError, printable
from cifsel.runtime import zips

MOST = 100_000
WHOLE = {"a": np.arange(12.0).reshape(3, 4), "names": np.array(["one", "two"])}


def packed(arrays=WHOLE, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def member(name, content, how=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def npy(shape, dtype="<f8", content=b"", header=None):
    header = header or f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + content


class Malicious:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([Malicious()], dtype=object))
    return file.getvalue()


def encrypted():
    data = bytearray(member("a.npy", npy((1,), content=bytes(8))))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def endless_list():
    data = member("a.npy", b"")
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    many = 1 + zips.MAX_LIST_BYTES // (end - start)
    closing = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, many * (end - start), start, 0)
    return data[:start] + data[start:end] * many + closing


HOSTILE = {
    "empty": (b"", "not a zip"),
    "text": (b"no archive", "not a zip"),
    "pickle": (pickle.dumps(Malicious()), "not a zip"),
    "objects": (member("a.npy", pickled()), "allow_pickle=False"),
    "no array": (member("a.npy", b"hello"), "magic string"),
    "pickle inside": (member("a.npy", pickle.dumps(Malicious())), "magic string"),
    "too large": (packed({"a": np.zeros(MOST // 8 + 1)}), "expected 100,000 at most"),
    "bomb": (packed({"a": np.zeros(10**7)}, np.savez_compressed), "expected 100,000 at most"),
    "terabytes": (member("a.npy", npy((2**40,))), "."),
    "more than there is": (member("a.npy", npy((9,), content=bytes(64))), "EOF"),
    "of no bytes": (member("a.npy", npy((2**40,), "|S0")), "1,099,511,627,776 elements"),
    "negative": (member("a.npy", npy((-5,))), "."),
    "deep": (member("a.npy", npy((), header="-" * 9_000 + "1")), "."),
    "brackets": (member("a.npy", npy((), header="[" * 5_000)), "."),
    "code": (member("a.npy", npy((), header="__import__('os').abort()")), "malformed node"),
    "encrypted": (encrypted(), "encrypted"),
    "unusual": (member("a.npy", npy((1,), content=bytes(8)), zipfile.ZIP_LZMA)[:60], "not a zip"),
    "endless list": (endless_list(), "its list of files is larger than 8 MB"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused(tmp_path, kind):
    content, expected = HOSTILE[kind]
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=expected) as caught:
        zips.read_arrays(path, MOST)
    assert str(caught.value).isprintable()
    assert str(caught.value)


def test_archives_that_are_no_files(tmp_path):
    with pytest.raises(OSError, match=r"nothing\.npz"):
        zips.read_arrays(tmp_path / "nothing.npz", MOST)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "device", tmp_path):
        with pytest.raises(ValueError, match="not a regular file"):
            zips.read_arrays(path, MOST)


@pytest.mark.slow
def test_bombs_take_no_memory(tmp_path, read_within):
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = b"".join(packer.compress(bytes(2**24)) for _ in range(32)) + packer.flush()
    info = zipfile.ZipInfo("a.npy")  # half a gigabyte that says to be less
    info.compress_type, info.compress_size, info.file_size = zipfile.ZIP_DEFLATED, len(body), 10**6
    info.header_offset = info.CRC = 0
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.fp.write(info.FileHeader() + body)
        archive.start_dir = archive.fp.tell()
        archive.filelist.append(info)
        archive._didModify = True
    (tmp_path / "more.npz").write_bytes(member("a.npy", npy((2**34,), content=bytes(10_000))))
    code = """if True:
        from cifsel.runtime import zips
        from cifsel.errors import UserError
        def read(path):
            try:
                zips.read_arrays(path, 10**7)
            except ValueError as error:
                raise UserError(f"refused: {error}")
    """
    said = read_within(code, [tmp_path / "lie.npz", tmp_path / "more.npz"], 200)
    assert all(message.startswith("refused: ") for message in said)


@pytest.mark.filterwarnings("ignore::UserWarning")  # NumPy's, of the headers of Python 2
@settings(max_examples=200, deadline=None, derandomize=True)
@given(save=st.sampled_from([np.savez, np.savez_compressed]), changes=CHANGES)
def test_damaged_archives_are_refused_or_read(tmp_path_factory, save, changes):
    path = tmp_path_factory.mktemp("arrays") / "a.npz"
    path.write_bytes(changed(packed(save=save), changes))
    try:
        arrays = zips.read_arrays(path, MOST)
    except ValueError as error:
        assert printable(error) == str(error)
    else:
        assert all(array.dtype != object for array in arrays.values())
        assert sum(array.nbytes for array in arrays.values()) <= MOST


# --- CIFAR-100's images --------------------------------------------------------------------------


def images():
    """The arrays of a cache, of 2 classes."""
    rng = np.random.default_rng(0)
    arrays = {
        "class_names": np.array(["bear", "tiger"]),
        "coarse_names": np.array(["large_carnivores"]),
        "coarse_of": np.zeros(2, np.int32),
    }
    for name, count in (("train", 12), ("test", 6)):
        arrays[f"{name}_images"] = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
        arrays[f"{name}_labels"] = np.tile(np.arange(2, dtype=np.int32), count // 2)
        arrays[f"{name}_ids"] = np.arange(count, dtype=np.int32)
    return arrays


def lacking(name):
    return {key: value for key, value in images().items() if key != name}


# With the right checksum, as `write` gives it to whatever there is.
STRANGE = {
    "nothing": ({}, "it holds nothing"),
    "missing": (lacking("test_ids"), "it holds class_names"),
    "more": (images() | {"more": np.zeros(3)}, "more"),
    "side": (images() | {"test_images": np.zeros((6, 16, 16, 3), np.uint8)}, "test_images"),
    "length": (images() | {"test_images": np.zeros((5, 32, 32, 3), np.uint8)}, "test_images"),
    "floats": (images() | {"train_labels": np.zeros(12)}, "train_labels is float64"),
    "wide": (images() | {"train_labels": np.zeros(12, np.int64)}, "train_labels is int64"),
    "single": (images() | {"train_labels": np.int32(1)}, "train_images is"),
    "classes": (images() | {"train_labels": np.full(12, 2, np.int32)}, "train_labels is not"),
    "negative": (images() | {"test_labels": np.full(6, -1, np.int32)}, "test_labels is not"),
    "groups": (images() | {"coarse_of": np.ones(2, np.int32)}, "coarse_of is not"),
    "bytes": (images() | {"class_names": np.array([b"a", b"b"])}, "class_names is |S1"),
    "no names": (images() | {"class_names": np.empty(0, "U1")}, "coarse_of is int32"),
    "dates": (images() | {"test_ids": np.zeros(6, "M8[s]")}, "test_ids is datetime64"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_images_are_not_believed_for_their_checksum(tmp_path, capsys, monkeypatch, kind):
    arrays, expected = STRANGE[kind]
    path = tmp_path / "images.npz"
    monkeypatch.setattr(cifar_cache, "_digest", lambda _: "right")
    cifar_cache.write(images(), [path])
    assert cifar_cache.read([path]).keys() == images().keys()
    cifar_cache.write(arrays, [path])
    assert cifar_cache.read([path]) is None
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert warning.startswith(f"{path} is damaged (")
    assert expected in warning


@settings(max_examples=60, deadline=None, derandomize=True)
@given(changes=CHANGES.filter(bool))
def test_damaged_images_are_never_taken_for_the_right_ones(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    cifar_cache.write(images(), [path])
    path.write_bytes(changed(path.read_bytes(), changes))
    found = cifar_cache.read([path])
    if found is not None:  # what was changed is of no importance, such as a date
        for name, array in images().items():
            np.testing.assert_array_equal(found[name], array)


# --- what an interrupted run computed ------------------------------------------------------------

RIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


STALE = {
    "truncated": saved(RIGHT)[:-1],
    "header only": npy((3, 4), "<f4"),
    "fewer rows": saved(RIGHT[:2]),
    "fewer columns": saved(RIGHT[:, :2]),
    "flat": saved(RIGHT.ravel()),
    "wider": saved(RIGHT.astype(np.float64)),
    "whole numbers": saved(RIGHT.astype(np.int32)),
    "terabytes": npy((2**40, 4), "<f4"),
    "objects": pickled(),
    "pickle": pickle.dumps(Malicious()),
    "archive": packed(),
    "deep": npy((), header="-" * 9_000 + "1"),
    "empty": b"",
    "text": b"hello" * 99,
}


class Compute:
    calls = 0

    def __call__(self):
        self.calls += 1
        return RIGHT


def cached(folder, compute):
    return workdir.cached_array(
        epath.Path(folder), "train", compute, lambda: jax.ShapeDtypeStruct((3, 4), np.float32)
    )


@pytest.mark.parametrize("kind", [*STALE, "pipe", "folder"])
def test_stale_arrays_are_computed_again(tmp_path, kind):
    path = Path(tmp_path, workdir.CACHE, "train.npy")
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(STALE[kind])
    if kind == "folder":
        with pytest.raises(UserError, match=r"train\.npy could not be written"):
            cached(tmp_path, Compute())
        return
    compute = Compute()
    for _ in range(2):
        found = cached(tmp_path, compute)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, RIGHT)
    assert compute.calls == 1
