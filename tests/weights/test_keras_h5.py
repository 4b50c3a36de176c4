"""Keras .h5 files: every layout that Keras writes is read, everything else is refused."""

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifsel.errors import UserError
from cifsel.models import classifier
from cifsel.weights import download, keras_h5

DATA = Path(__file__).parents[3] / "shared" / "data" / "weights"
# One tensor of each kind, small enough to write hundreds of files of them.
TINY = {
    "conv1/kernel": (3, 3, 3, 8),
    "conv1_bn/gamma": (8,),
    "conv1_bn/moving_variance": (8,),
    "conv_dw_1/kernel": (3, 3, 8, 1),
    "conv_preds/bias": (10,),
}

Tensors = dict[str, np.ndarray]


def filled(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def write(
    path: Path,
    tensors: Tensors,
    *,
    below: str = "",
    keras2: bool = False,
    **storage: object,
) -> Path:
    """Writes tensors as keras.applications' files have them (`keras2`: as they were in 2017)."""
    with h5py.File(path, "w") as file:
        root = file.create_group(below) if below else file
        layers = dict.fromkeys(name.partition("/")[0] for name in tensors)
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        for name, value in tensors.items():
            layer, _, weight = name.partition("/")
            place = name
            if keras2:
                weight = "depthwise_kernel" if "_dw_" in layer and weight == "kernel" else weight
                # The scope of a model that was not the first to be built.
                place = f"{layer}_3/{weight}:0"
            root.require_group(layer).create_dataset(place, data=value, **storage)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "weights.h5", filled(TINY))


def refused(path: Path, *words: str) -> str:
    with pytest.raises(UserError) as error:
        keras_h5.read_tensors(path)
    message = str(error.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message
    return message


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"keras2": True},
        {"below": "model_weights"},
        {"below": "model_weights", "keras2": True, "compression": "gzip", "shuffle": True},
    ],
)
def test_every_layout_reads_the_same(tmp_path: Path, layout: dict) -> None:
    expected = filled(TINY)
    read = keras_h5.read_tensors(write(tmp_path / "w.h5", expected, **layout))
    assert set(read) == set(expected)
    for name, value in read.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, expected[name])
    assert keras_h5.tensors_sha256(read) == keras_h5.tensors_sha256(expected)


def test_hash_tells_names_shapes_and_every_bit_apart() -> None:
    tensors = filled(TINY)
    hashes = {keras_h5.tensors_sha256(tensors)}
    kernel = tensors["conv1/kernel"]
    flipped = kernel.copy()
    flipped.view(np.uint32)[0, 0, 0, 0] ^= 1
    for other in (flipped, kernel.transpose(1, 0, 2, 3), kernel.reshape(9, 3, 8)):
        hashes.add(keras_h5.tensors_sha256(tensors | {"conv1/kernel": other}))
    renamed = dict(tensors)
    renamed["conv2/kernel"] = renamed.pop("conv1/kernel")
    hashes.add(keras_h5.tensors_sha256(renamed))
    assert len(hashes) == 5
    backwards = {name: np.asfortranarray(tensors[name]) for name in reversed(tensors)}
    assert keras_h5.tensors_sha256(backwards) in hashes


@pytest.mark.parametrize("name", ["mobilenet_1_0_224_tf.h5", "mobilenet_1_0_224_tf_no_top.h5"])
def test_published_mobilenet_tensors_have_the_published_hash(name: str) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not in ../shared/data/weights")
    found = keras_h5.tensors_sha256(keras_h5.read_tensors(DATA / name))
    assert found == download.MOBILENET_1_0_224_SHA256["no_top" not in name]


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.h5", "no such weight file")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path, "not a readable HDF5 file")


@pytest.mark.parametrize("content", [b"", b"<html>404 not found</html>" * 99, b"PK\x03\x04" * 99])
def test_not_hdf5(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "not a readable HDF5 file")


def test_pickle_is_never_loaded(path: Path) -> None:
    marker = path.with_name("marker")

    class Malicious:
        def __reduce__(self) -> tuple:
            return Path.touch, (marker,)

    path.write_bytes(pickle.dumps(Malicious()))
    refused(path, "not a readable HDF5 file")
    assert not marker.exists()


def _replace_kernel(file: h5py.File, make: Callable[[h5py.Group], object]) -> None:
    group = file["conv1/conv1"]
    del group["kernel"]
    make(group)


def _dataset(**kwargs: object) -> Callable[[h5py.Group], object]:
    return lambda group: group.create_dataset("kernel", **kwargs)


def _secret(group: h5py.Group) -> Path:
    """A readable HDF5 file beside the one under test, which must never be opened."""
    return write(Path(group.file.filename).with_name("secret.h5"), filled(TINY, seed=1))


def _virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((3, 3, 3, 8), np.float32)
    layout[:] = h5py.VirtualSource(str(_secret(group)), "conv1/conv1/kernel", (3, 3, 3, 8))
    group.create_virtual_dataset("kernel", layout)


def _outside_storage(group: h5py.Group) -> None:
    raw = Path(group.file.filename).with_name("secret.bin")
    raw.write_bytes(bytes(864))
    group.create_dataset("kernel", (3, 3, 3, 8), np.float32, external=[(str(raw), 0, 864)])


def _external_link(group: h5py.Group) -> None:
    group["kernel"] = h5py.ExternalLink(str(_secret(group)), "conv1/conv1/kernel")


def _nested(group: h5py.Group) -> None:
    for _ in range(keras_h5.MAX_DEPTH):
        group = group.create_group("deeper")
    group["kernel"] = np.zeros(3, np.float32)


def _circle(group: h5py.Group) -> None:
    group["kernel"] = group


HOSTILE: dict[str, tuple[Callable[[h5py.Group], object], str]] = {
    "external link": (_external_link, "link to somewhere else"),
    "soft link": (
        lambda group: group.__setitem__("kernel", h5py.SoftLink("/conv_dw_1/conv_dw_1/kernel")),
        "link to somewhere else",
    ),
    "virtual": (_virtual, "in other files"),
    "external storage": (_outside_storage, "in other files"),
    "circle": (_circle, "nested deeper"),
    "nested": (_nested, "nested deeper"),
    "type": (lambda group: group.__setitem__("kernel", np.dtype("f4")), "neither a group"),
    "integers": (_dataset(data=np.zeros((3, 3, 3, 8), np.int32)), "dtype int32"),
    "complex": (_dataset(data=np.zeros((3, 3, 3, 8), np.complex64)), "dtype complex64"),
    "strings": (_dataset(data=[b"a", b"b"]), "dtype"),
    "objects": (_dataset(shape=(2,), dtype=h5py.string_dtype()), "dtype object"),
    "compound": (_dataset(shape=(2,), dtype=np.dtype([("x", "f4")])), "dtype"),
    "nothing": (_dataset(data=h5py.Empty("f4")), "shape None"),
    "five axes": (_dataset(data=np.zeros((1, 1, 1, 1, 1), np.float32)), "0 to 4 axes"),
    "nan": (_dataset(data=np.full(3, np.nan, np.float32)), "NaN or infinity"),
    "overflow": (_dataset(data=np.full(3, 1e300)), "NaN or infinity"),
    # Four terabytes that take no space in the file.
    "absurd": (_dataset(shape=(2**20, 2**20), dtype="f4", chunks=(1, 2**20)), "elements"),
    "twice": (
        lambda group: [group.create_dataset(n, data=np.float32(1)) for n in ("kernel", "kernel:0")],
        "two tensors",
    ),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_content_is_refused(path: Path, kind: str) -> None:
    make, reason = HOSTILE[kind]
    with h5py.File(path, "r+") as file:
        _replace_kernel(file, make)
    refused(path, "conv1/", reason)


def test_negative_variance(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["conv1_bn/conv1_bn/moving_variance"][3] = -1e-3
    refused(path, "conv1_bn/moving_variance", "negative")


@pytest.mark.parametrize("link", [h5py.ExternalLink("secret.h5", "/"), h5py.SoftLink("/elsewhere")])
def test_the_groups_themselves_cannot_be_links(path: Path, link: object) -> None:
    secret = write(path.with_name("secret.h5"), filled(TINY, seed=1))
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = h5py.SoftLink("/conv1")
        file["model_weights"] = link
    refused(path, "link to somewhere else")
    assert secret.exists()


def test_keras_3_own_layout_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((3, 3, 3, 8), np.float32)
    refused(path, "layer_names", "model.save('name.h5')")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_anywhere(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "cut.h5", filled(TINY))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "not a readable HDF5 file", "fetch it again")


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_bytes_give_a_user_error_or_finite_tensors(path: Path, data: st.DataObject) -> None:
    content = bytearray(write(path, filled(TINY)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        tensors = keras_h5.read_tensors(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all(np.isfinite(value).all() for value in tensors.values())


# ---- Keras tensors -> variables -------------------------------------------------------------


def template_of(model: str, **kwargs: float) -> dict:
    built = classifier.build(model, num_classes=1000, **kwargs)
    return jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@pytest.fixture(scope="module")
def narrow() -> tuple[dict, Tensors]:
    """A MobileNet of alpha 0.25 and its tensors as Keras would have them."""
    c = [int(n * 0.25) for n in (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)]
    bn = ("gamma", "beta", "moving_mean", "moving_variance")
    shapes: dict[str, tuple[int, ...]] = {"conv1/kernel": (3, 3, 3, c[0])}
    shapes |= {f"conv1_bn/{weight}": (c[0],) for weight in bn}
    for i in range(1, 14):
        shapes[f"conv_dw_{i}/kernel"] = (3, 3, c[i - 1], 1)
        shapes |= {f"conv_dw_{i}_bn/{weight}": (c[i - 1],) for weight in bn}
        shapes[f"conv_pw_{i}/kernel"] = (1, 1, c[i - 1], c[i])
        shapes |= {f"conv_pw_{i}_bn/{weight}": (c[i],) for weight in bn}
    shapes |= {"conv_preds/kernel": (1, 1, c[13], 1000), "conv_preds/bias": (1000,)}
    return template_of("mobilenet", alpha=0.25), filled(shapes)


def convert(template: dict, tensors: Tensors, head: bool = True) -> dict:
    return keras_h5.convert(tensors, template, model="mobilenet", head=head, path="dir/some.h5")


def unfit(template: dict, tensors: Tensors, *words: str, head: bool = True) -> None:
    with pytest.raises(UserError) as error:
        convert(template, tensors, head)
    message = str(error.value)
    assert "\n" not in message
    for word in ("dir/some.h5", *words):
        assert word in message


def test_every_tensor_is_used_once_and_every_variable_filled(narrow: tuple[dict, Tensors]) -> None:
    template, tensors = narrow
    variables = convert(template, tensors)
    assert jax.tree.structure(variables) == jax.tree.structure(dict(template))
    for value, leaf in zip(jax.tree.leaves(variables), jax.tree.leaves(template), strict=True):
        assert value.shape == leaf.shape
        assert value.dtype == np.float32
    # Each tensor has its own random sum, so equal multisets of sums mean that each was used once.
    given_sums = sorted(float(value.sum()) for value in tensors.values())
    assert sorted(float(value.sum()) for value in jax.tree.leaves(variables)) == given_sums
    backbone, statistics = variables["params"]["backbone"], variables["batch_stats"]["backbone"]
    for value, name in (
        (backbone["stem"]["conv"]["kernel"], "conv1/kernel"),
        (backbone["block3"]["pointwise_bn"]["bias"], "conv_pw_3_bn/beta"),
        (backbone["block3"]["depthwise_bn"]["scale"], "conv_dw_3_bn/gamma"),
        (statistics["block13"]["pointwise_bn"]["var"], "conv_pw_13_bn/moving_variance"),
        (statistics["block13"]["pointwise_bn"]["mean"], "conv_pw_13_bn/moving_mean"),
    ):
        np.testing.assert_array_equal(value, tensors[name])
    depthwise = backbone["block2"]["depthwise"]["kernel"]
    np.testing.assert_array_equal(depthwise[:, :, 0, :], tensors["conv_dw_2/kernel"][:, :, :, 0])
    np.testing.assert_array_equal(
        variables["params"]["head"]["logits"]["kernel"], tensors["conv_preds/kernel"][0, 0]
    )


def test_classifier_is_left_out_only_on_request(narrow: tuple[dict, Tensors]) -> None:
    template, tensors = narrow
    variables = convert(template, tensors, head=False)
    assert set(variables["params"]) == {"backbone"}
    headless = {**template, "params": {"backbone": template["params"]["backbone"]}}
    assert set(convert(headless, tensors, head=False)["params"]) == {"backbone"}
    unfit(headless, tensors, "2 extra (conv_preds/kernel, conv_preds/bias)")


def test_file_without_classifier(narrow: tuple[dict, Tensors]) -> None:
    template, tensors = narrow
    no_top = {name: value for name, value in tensors.items() if "preds" not in name}
    assert set(convert(template, no_top, head=False)["params"]) == {"backbone"}
    unfit(template, no_top, "no ImageNet classifier", "conv_preds", "'no_top'")


def test_mismatches_are_listed(narrow: tuple[dict, Tensors]) -> None:
    template, tensors = narrow
    wrong = dict(tensors)
    wrong["conv1/kernel"] = wrong["conv1/kernel"].transpose(3, 2, 0, 1)
    for i in range(1, 9):
        del wrong[f"conv_dw_{i}/kernel"]
    wrong["dense/kernel"] = np.zeros((2, 2), np.float32)
    unfit(
        template,
        wrong,
        "8 missing (",
        "conv_dw_1/kernel",
        "and 3 more",
        "1 extra (dense/kernel)",
        "1 misshapen (conv1/kernel (8, 3, 3, 3) instead of (3, 3, 3, 8))",
    )


def test_weights_of_another_width(narrow: tuple[dict, Tensors]) -> None:
    unfit(template_of("mobilenet", alpha=0.5), narrow[1], "misshapen", "alpha")


def test_weights_of_another_model(narrow: tuple[dict, Tensors]) -> None:
    with pytest.raises(UserError, match=r"some\.h5: does not fit efficientnetv2-b0: .*missing"):
        keras_h5.convert(
            narrow[1], template_of("efficientnetv2-b0"), model="efficientnetv2-b0",
            head=False, path="some.h5",
        )  # fmt: skip


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 3)])
def test_stored_normalization_must_be_imagenets(
    narrow: tuple[dict, Tensors], shape: tuple[int, ...]
) -> None:
    template, tensors = narrow
    known = {
        "normalization_1/mean": np.float32([0.485, 0.456, 0.406]).reshape(shape),
        "normalization_1/variance": np.float32([0.052441, 0.050176, 0.050625]).reshape(shape),
        "normalization_1/count": np.float32(0),
    }
    convert(template, tensors | known)
    bgr = known["normalization_1/mean"][..., ::-1]
    unfit(template, tensors | known | {"normalization_1/mean": bgr}, "ImageNet")
    unfit(template, tensors | known | {"normalization_1/other": bgr}, "unknown")


def test_stored_normalization_count_is_the_one_integer(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    write(path, filled(TINY) | {"normalization/count": np.int64(0)})
    assert keras_h5.read_tensors(path)["normalization/count"].shape == ()
    write(path, filled(TINY) | {"normalization/mean": np.zeros(3, np.int64)})
    refused(path, "normalization/mean", "int64")
