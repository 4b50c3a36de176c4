"""Each format is read without cifsel, by the lines beside it, and answers as predict does.

The models are real ones, as narrow and small as they can be.
"""

import ast
import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from cifsel.models import efficientnet_v2
from cifsel.prediction import predictor
from cifsel.prediction.exports import keras_layout, source

pytestmark = [
    pytest.mark.slow,
    # TensorFlow, when Keras reads its variables.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
# cifsel cannot be imported, as on a machine that does not have it.
WITHOUT_CIFSEL = "import sys; sys.modules['cifsel'] = None; exec(open('use.py').read())"


@pytest.fixture
def photo(tmp_path):
    """A photo beside the export, and its pixels."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (9, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    return np.asarray(Image.open(tmp_path / "photo.jpg"))


@pytest.fixture
def lines(tmp_path):
    """(file) -> what the lines of its page print, in a process without cifsel."""

    def execute(file):
        (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / f"{file}.md").read_text(), re.S)
        (tmp_path / "use.py").write_text(code)
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_CIFSEL],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return execute


@pytest.mark.process
@pytest.mark.parametrize(
    ("form", "name", "task"),
    [
        ("onnx", "it.onnx", "task1"),
        ("stablehlo", "it.bin", "selfie"),
        ("keras", "it.keras", "selfie"),
        ("tflite", "it.tflite", "task1"),
    ],
)
def test_a_format_answers_as_predict_does(  # noqa: PLR0917 - pytest names its arguments
    form, name, task, request, run, photo, lines, tmp_path
):
    if form == "onnx":
        for module in ("onnx", "jax2onnx", "onnxruntime"):
            pytest.importorskip(module)
    folder = request.getfixturevalue(task)
    said, status = run(f"--checkpoint={folder}", f"--format={form}", f"--output={tmp_path / name}")
    assert status == 0, said
    assert "largest difference to cifsel.predict" in said
    assert "Tensor" not in said  # Keras tells of all of them.
    made = predictor.load(str(folder))
    expected = made.probabilities(made.show([photo], ["photo"]))[0]
    given = ast.literal_eval(lines(name).strip().splitlines()[-1])
    assert tuple(given) == made.class_names
    np.testing.assert_allclose(list(given.values()), expected, atol=1e-5)
    if form == "onnx":
        check_onnx(tmp_path / name, made)


def check_onnx(path, made):
    """One file with its metadata, for any batch."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path)
    (entry,), (result,) = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.type, entry.shape[1:]) == ("images", "tensor(uint8)", [24, 24, 3])
    assert isinstance(entry.shape[0], str)
    assert result.name == "probabilities"
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["class_names"]) == list(made.class_names)
    assert len(texts["checkpoint_sha256"]) == 64
    assert not list(path.parent.glob("*.data"))


@pytest.mark.process
def test_weights_are_read_by_keras_applications(run, task1, lines, tmp_path):
    path = tmp_path / "it.h5"
    said, status = run(f"--checkpoint={task1}", "--format=keras", f"--output={path}")
    assert status == 0, said
    model = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=str(path), input_shape=(32, 32, 3)
    )
    tensors = keras_layout.tensors(source.load(str(task1)))
    weights = {f"{layer.name}/{w.name}": w for layer in model.layers for w in layer.weights}
    assert set(weights) == set(tensors)
    for key, value in weights.items():
        np.testing.assert_array_equal(value, tensors[key])
    assert "conv_pw_13_relu" in lines("it.h5")


def test_blocks_of_efficientnet_end_where_ours_do():
    model = keras.applications.EfficientNetV2B0(
        include_top=False, weights=None, input_shape=(64, 64, 3), include_preprocessing=False
    )
    last = {keras_layout.block_of(layer.name): layer for layer in model.layers}
    names = efficientnet_v2.EfficientNetV2("b0").layer_names
    assert set(names) <= set(last)
    for name in names:
        assert re.search("_(add|activation|project_bn|project_activation)$", last[name].name)


def test_a_backbone_that_keras_does_not_have(run, selfie, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_layout, "APPLICATIONS", {})
    said, status = run(
        f"--checkpoint={selfie}", "--format=keras", f"--output={tmp_path / 'it.keras'}"
    )
    assert status == 2
    assert said.startswith("error: keras.applications has no mobilenet: give --format=onnx")
