"""HDF5 made to do harm: links, odd types and bombs are refused in one line."""

import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5_refusal import refused
from paths import REPO

from cifsel.models.weights import containers, h5_file

pytestmark = pytest.mark.slow

Make = Callable[[h5py.Group], object]
SHAPE = (3, 3, 3, 8)


def _replace_kernel(file: h5py.File, make: Make) -> None:
    group = file["conv1/conv1"]
    del group["kernel"]
    make(group)


def _dataset(**kwargs: object) -> Make:
    return lambda group: group.create_dataset("kernel", **kwargs)


def _secret(group: h5py.Group) -> Path:
    """A readable HDF5 file beside the one under test, which must never be opened."""
    path = Path(group.file.filename).with_name("secret.h5")
    with h5py.File(path, "w") as file:
        file["kernel"] = np.ones(SHAPE, np.float32)
    return path


def _virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout(SHAPE, np.float32)
    layout[:] = h5py.VirtualSource(str(_secret(group)), "kernel", SHAPE)
    group.create_virtual_dataset("kernel", layout)


def _outside_storage(group: h5py.Group) -> None:
    raw = Path(group.file.filename).with_name("secret.bin")
    raw.write_bytes(bytes(864))
    group.create_dataset("kernel", SHAPE, np.float32, external=[(str(raw), 0, 864)])


def _external_link(group: h5py.Group) -> None:
    group["kernel"] = h5py.ExternalLink(str(_secret(group)), "kernel")


def _nested(group: h5py.Group) -> None:
    for _ in range(h5_file.MAX_DEPTH):
        group = group.create_group("deeper")
    group["kernel"] = np.zeros(3, np.float32)


def _many_ways(group: h5py.Group) -> None:
    """A dozen groups, which 40 to the power of 4 ways lead through."""
    for level in range(4):
        below = group.file.create_group(f"elsewhere/{level}")
        for way in range(40):
            group[f"way{way}"] = below
        group = below


def _partly_there(group: h5py.Group) -> None:
    dataset = group.create_dataset("kernel", (3, 3, 3, 800), "f4", chunks=(3, 3, 3, 8))
    dataset[..., :8] = 1


def _twice_the_same(group: h5py.Group) -> None:
    group["kernel"] = np.ones((100_000,), np.float32)
    group["other"] = group["kernel"]


HOSTILE: dict[str, tuple[Make, str]] = {
    "external link": (_external_link, "link to somewhere else"),
    "soft link": (
        lambda group: group.__setitem__("kernel", h5py.SoftLink("/conv_dw_1/conv_dw_1/kernel")),
        "link to somewhere else",
    ),
    "links in a circle": (
        lambda group: group.__setitem__("kernel", h5py.SoftLink("kernel")),
        "link to somewhere else",
    ),
    "virtual": (_virtual, "in other files"),
    "external storage": (_outside_storage, "in other files"),
    "circle": (lambda group: group.__setitem__("kernel", group), "nested deeper"),
    "nested": (_nested, "nested deeper"),
    "many ways": (_many_ways, "more than 20,000 groups and tensors"),
    "type": (lambda group: group.__setitem__("kernel", np.dtype("f4")), "neither a group"),
    "integers": (_dataset(data=np.zeros(SHAPE, np.int32)), "dtype int32"),
    "truths": (_dataset(data=np.zeros(SHAPE, bool)), "dtype bool"),
    "complex": (_dataset(data=np.zeros(SHAPE, np.complex64)), "dtype complex64"),
    "long double": (_dataset(data=np.zeros(SHAPE, np.longdouble)), "16 to 64 bits"),
    "strings": (_dataset(data=[b"a", b"b"]), "dtype"),
    "variable strings": (_dataset(shape=(2,), dtype=h5py.string_dtype()), "dtype object"),
    "variable lengths": (_dataset(shape=(2,), dtype=h5py.vlen_dtype("f4")), "dtype object"),
    "references": (_dataset(shape=(2,), dtype=h5py.ref_dtype), "dtype object"),
    "opaque": (_dataset(data=np.zeros(2, "V8")), "dtype"),
    "compound": (_dataset(shape=(2,), dtype=np.dtype([("x", "f4")])), "dtype"),
    "nothing": (_dataset(data=h5py.Empty("f4")), "shape None"),
    "five axes": (_dataset(data=np.zeros((1, 1, 1, 1, 1), np.float32)), "0 to 4 axes"),
    "nan": (_dataset(data=np.full(3, np.nan, np.float32)), "NaN or infinity"),
    "infinity": (_dataset(data=np.full(3, -np.inf, np.float32)), "NaN or infinity"),
    "overflow": (_dataset(data=np.full(3, 1e300)), "NaN or infinity"),
    # Four terabytes that take no space in the file.
    "absurd": (_dataset(shape=(2**20, 2**20), dtype="f4", chunks=(1, 2**20)), "holds 0 bytes"),
    "made up": (_dataset(shape=(2**26,), dtype="f4", chunks=(64,), fillvalue=1), "holds 0 bytes"),
    "partly there": (_partly_there, "holds 864 bytes; expected 86,400"),
    "compressed": (_dataset(data=np.zeros(SHAPE, "f4"), compression="gzip"), "h5repack -f NONE"),
    "other filters": (_dataset(data=np.zeros(SHAPE, "f4"), shuffle=True), "h5repack -f NONE"),
    "twice": (
        lambda group: [group.create_dataset(n, data=np.float32(1)) for n in ("kernel", "kernel:0")],
        "two tensors",
    ),
    "one for two": (_twice_the_same, "expected each to be there once"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_content_is_refused(path: Path, kind: str) -> None:
    make, reason = HOSTILE[kind]
    with h5py.File(path, "r+") as file:
        _replace_kernel(file, make)
    refused(path, "conv1/" if kind != "many ways" else "way", reason)


def test_negative_variance(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["conv1_bn/conv1_bn/moving_variance"][3] = -1e-3
    refused(path, "conv1_bn/moving_variance", "negative")


def test_an_integer_that_is_no_count(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["normalization/count"] = np.zeros(3, np.int64)
    refused(path, "normalization/count", "int64")


def test_hdf5_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["images/0"] = np.zeros(SHAPE, np.float32)
    refused(path, "not a Keras weight file", "model.save('name.keras')")


@pytest.mark.process
def test_a_crash_of_older_hdf5_is_a_refusal() -> None:
    """A public crash report: h5py before 3.16 ends the process with a segmentation fault."""
    path = REPO.parent / "shared" / "cases" / "hdf5-poc-05.h5"
    if not path.is_file():
        pytest.skip(f"no {path}")
    code = f"from cifsel.models.weights import h5_file; h5_file.read_tensors({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, f"ended with {done.returncode}"
    assert "UserError" in done.stderr.splitlines()[-1]
    assert "hdf5-poc-05.h5: not a readable HDF5 file" in done.stderr


@pytest.mark.parametrize("link", [h5py.ExternalLink("secret.h5", "/"), h5py.SoftLink("/elsewhere")])
def test_the_groups_themselves_cannot_be_links(path: Path, link: object) -> None:
    with h5py.File(path, "r+") as file:
        _secret(file)
        file["elsewhere"] = h5py.SoftLink("/conv1")
        file["model_weights"] = link
    refused(path, "link to somewhere else")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two\nlines\x1b[2J", r"two\nlines\x1b[2J/kernel has dtype int8"),
        ("\u202ekcab", r"\u202ekcab/kernel has dtype int8"),
        (b"caf\xe9", "not a readable HDF5 file"),
        ("x" * 60_000, " ... "),
    ],
)
def test_names_of_tensors_are_printable_and_short(path: Path, name: str, said: str) -> None:
    with h5py.File(path, "r+") as file:
        file.create_group(name)["kernel"] = np.zeros(3, np.int8)
    assert len(refused(path, said)) < 3_000


# --- small files that would take much ------------------------------------------------------------


def _bombs(folder: Path, content: bytes) -> list[Path]:
    """Files of up to 5 MB that would take half a gigabyte and more."""
    paths = [folder / f"{number}.h5" for number in range(4)]
    for path in paths:
        path.write_bytes(content)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(32)) + packer.flush()
    # The file does not say how large a chunk becomes, and a chunk may be larger than its content.
    for path, chunk in ((paths[0], 2**18), (paths[1], 2**27)):
        with h5py.File(path, "r+") as file:
            options = {"chunks": (chunk,), "maxshape": (None,), "compression": "gzip"}
            file.create_dataset("bomb/a", (8,), "f4", **options).id.write_direct_chunk((0,), packed)
    with h5py.File(paths[2], "r+") as file:  # not written, so that all is made up
        file.create_dataset("bomb/a", (2**13, 2**14), "f8", chunks=(1, 2**14))
    with paths[3].open("r+b") as file:  # holes that take no space
        file.truncate(2 * containers.MAX_BYTES)
    return paths


def test_bombs_are_refused_before_they_go_off(path: Path, read_within: Callable) -> None:
    paths = _bombs(path.parent, path.read_bytes())
    said = read_within("from cifsel.models.weights.h5_file import read_tensors as read", paths, 200)
    reasons = ("compressed", "compressed", "holds 0 bytes", "2,147 MB")
    for bomb, message, reason in zip(paths, said, reasons, strict=True):
        assert str(bomb) in message
        assert reason in message
