"""Tensors of Keras files: hashed by content, and put where a model has them, each once."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import DATA

from cifsel.errors import UserError, printable
from cifsel.models import classifier
from cifsel.models.weights import catalogue, h5_file, keras_h5

WEIGHTS = DATA / "weights"

Tensors = dict[str, np.ndarray]
Filled = Callable[..., Tensors]


def test_hash_tells_names_shapes_and_every_bit_apart(filled: Filled) -> None:
    tensors = filled()
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
    big_endian = {name: value.astype(">f4") for name, value in tensors.items()}
    assert keras_h5.tensors_sha256(big_endian) in hashes


@pytest.mark.real
@pytest.mark.parametrize("name", ["mobilenet_1_0_224_tf.h5", "mobilenet_1_0_224_tf_no_top.h5"])
def test_published_mobilenet_tensors_have_the_published_hash(name: str) -> None:
    if not (WEIGHTS / name).is_file():
        pytest.skip(f"{name} is not in ../shared/data/weights")
    sha256 = keras_h5.tensors_sha256(h5_file.read_tensors(WEIGHTS / name))
    assert sha256 == catalogue.MOBILENET_1_0_224_SHA256["no_top" not in name]


def template_of(model: str, **kwargs: float) -> dict:
    built = classifier.build(model, num_classes=1000, **kwargs)
    return jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@pytest.fixture(scope="module")
def narrow(filled: Filled) -> tuple[dict, Tensors]:
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
    assert message.isprintable()
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


# Variables of EfficientNetV2, of each kind one, as Keras has named and shaped them since 2021.
EFFICIENTNET = {
    "batch_stats/backbone/stem/conv_bn/mean": ("stem_bn/moving_mean", (4,)),
    "batch_stats/backbone/block4b/depthwise_bn/var": ("block4b_bn/moving_variance", (8,)),
    "params/head/logits/kernel": ("predictions/kernel", (6, 10)),
    "params/head/logits/bias": ("predictions/bias", (10,)),
    "params/backbone/stem/conv/kernel": ("stem_conv/kernel", (3, 3, 3, 4)),
    "params/backbone/stem/conv_bn/scale": ("stem_bn/gamma", (4,)),
    "params/backbone/block4b/expand_conv/kernel": ("block4b_expand_conv/kernel", (1, 1, 4, 8)),
    "params/backbone/block4b/expand_bn/bias": ("block4b_expand_bn/beta", (8,)),
    "params/backbone/block4b/depthwise/kernel": ("block4b_dwconv2/kernel", (3, 3, 8, 1)),
    "params/backbone/block4b/depthwise_bn/bias": ("block4b_bn/beta", (8,)),
    "params/backbone/block4b/se_reduce/kernel": ("block4b_se_reduce/kernel", (1, 1, 8, 2)),
    "params/backbone/block4b/se_reduce/bias": ("block4b_se_reduce/bias", (2,)),
    "params/backbone/block4b/se_expand/kernel": ("block4b_se_expand/kernel", (1, 1, 2, 8)),
    "params/backbone/block4b/project_conv/kernel": ("block4b_project_conv/kernel", (1, 1, 8, 4)),
    "params/backbone/block4b/project_bn/scale": ("block4b_project_bn/gamma", (4,)),
    "params/backbone/top/conv/kernel": ("top_conv/kernel", (1, 1, 4, 6)),
    "params/backbone/top/conv_bn/bias": ("top_bn/beta", (6,)),
}


@pytest.mark.parametrize("head", [True, False])
def test_efficientnet_files_are_read_by_kerass_names(
    filled: Filled, write: Callable[..., Path], tmp_path: Path, head: bool
) -> None:
    tensors = filled(dict(EFFICIENTNET.values()))
    expected = {}
    for ours, (name, _) in EFFICIENTNET.items():
        value = tensors[name]
        if "/depthwise/" in ours:
            value = value.swapaxes(2, 3)
        elif "/se_" in ours and "kernel" in ours:
            value = value[0, 0]
        expected[ours] = value
    shapes = {ours: jax.ShapeDtypeStruct(v.shape, np.float32) for ours, v in expected.items()}
    template = traverse_util.unflatten_dict(shapes, sep="/")
    path = tmp_path / "some.h5"

    def load(tensors: Tensors) -> dict:
        read = h5_file.read_tensors(write(path, tensors))
        return keras_h5.convert(read, template, model="efficientnetv2-b0", head=head, path=path)

    variables = load(tensors)
    expected = {ours: v for ours, v in expected.items() if head or "/head/" not in ours}
    flat = traverse_util.flatten_dict(variables, sep="/")
    assert list(flat) == list(expected)
    for ours, value in expected.items():
        np.testing.assert_array_equal(flat[ours], value)
    # A layer of the backbone that the model lacks. Others are somebody's head.
    with pytest.raises(UserError, match=rf"{path}: does not fit efficientnetv2-b0: 1 extra"):
        load(filled({**dict(EFFICIENTNET.values()), "block9z_bn/beta": (1,)}))
    with_head = filled({**dict(EFFICIENTNET.values()), "a/bias": (1,)})
    if head:
        with pytest.raises(UserError, match=r"1 extra \(a/bias\)"):
            load(with_head)
    else:
        assert list(traverse_util.flatten_dict(load(with_head), sep="/")) == list(expected)


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
        "and 3 more), 1 extra (dense/kernel), 1 misshapen (conv1/kernel (8, 3, 3, 3) instead of"
        " (3, 3, 3, 8)); check",
    )
    five = {name: value for name, value in tensors.items() if not name.endswith("_5/kernel")}
    for name in ("conv1_bn/gamma", "conv_dw_1_bn/beta", "conv_pw_13/kernel"):
        del five[name]
    with pytest.raises(UserError, match=r"5 missing \((\S+, ){4}\S+\);"):
        convert(template, five)


def test_model_whose_keras_names_are_unknown(narrow: tuple[dict, Tensors]) -> None:
    with pytest.raises(UserError, match=r"some.h5: .*resnet-18.* mobilenet and efficientnetv2:"):
        keras_h5.convert(narrow[1], narrow[0], model="resnet-18", head=False, path="some.h5")


def test_weights_of_another_width(narrow: tuple[dict, Tensors]) -> None:
    unfit(template_of("mobilenet", alpha=0.5), narrow[1], "misshapen", "alpha")


@pytest.mark.slow
def test_weights_of_another_model(narrow: tuple[dict, Tensors]) -> None:
    with pytest.raises(UserError, match=r"some\.h5: no efficientnetv2-b0 but the layers of Mob"):
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
    off = known["normalization_1/variance"] * np.float32(1.0001)
    unfit(template, tensors | known | {"normalization_1/variance": off}, "ImageNet")
    many = np.full(5, 9, np.float32)
    unfit(template, tensors | known | {"normalization_1/mean": many}, "is [9.0, 9.0, 9.0]; exp")
    unfit(template, tensors | known | {"normalization_1/count": many}, "unknown")


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed": np.transpose,
    "flat": np.ravel,
    "longer": lambda value: np.concatenate([value, value]),
    "of one more axis": lambda value: value[None],
}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_tensor_that_is_not_as_it_should_be_is_named(
    narrow: tuple[dict, Tensors], data: st.DataObject
) -> None:
    template, tensors = narrow
    wrong = dict(tensors)
    name = data.draw(st.sampled_from(sorted(tensors)))
    what = data.draw(st.sampled_from(["missing", "extra", "renamed", *CHANGES]))
    other = data.draw(
        st.text("k/:\n\x1b\u202e\u00e9", min_size=1, max_size=30).map("odd {}/kernel".format)
    )
    expected = [name]
    if what in CHANGES:
        wrong[name] = CHANGES[what](tensors[name])
        if wrong[name].shape == tensors[name].shape:  # of equal axes nobody can tell
            convert(template, wrong)
            return
        expected.append("1 misshapen")
    elif what == "extra":
        wrong[other], expected = tensors[name], ["1 extra", printable(other)]
    else:
        del wrong[name]
        expected.append("1 missing")
        if what == "renamed":
            wrong[other] = tensors[name]
            expected.append("1 extra")
    unfit(template, wrong, *expected)
