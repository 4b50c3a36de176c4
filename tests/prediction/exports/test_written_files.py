"""Each format is read without cifsel, by the lines beside it, and answers as predict does.

The models are real ones, as narrow and small as they can be.
"""

import ast
import contextlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifsel.models import classifier, efficientnet_v2, mobilenet
from cifsel.prediction import predictor
from cifsel.prediction.exports import keras_layout, source

pytestmark = [
    pytest.mark.slow,
    # TensorFlow, when Keras reads its variables.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
# Runs files of Python one after the other, as it takes seconds to import what they need. cifsel
# cannot be imported, as on a machine that does not have it.
WITHOUT_CIFSEL = """
import contextlib, io, json, pathlib, sys
sys.modules["cifsel"] = None
said = {}
for path in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(pathlib.Path(path).read_text(), {})
    said[path] = output.getvalue()
print(json.dumps(said))
"""
FILES = {"onnx": "it.onnx", "stablehlo": "it.bin", "keras": "it.keras", "tflite": "it.tflite"}


@pytest.fixture
def few_blocks(monkeypatch):
    """Cuts MobileNet, which compiles in seconds, to blocks with both strides twice."""
    import keras

    monkeypatch.setattr(mobilenet, "BLOCKS", mobilenet.BLOCKS[:4])
    make = keras.applications.MobileNet

    def short(**options):
        whole = make(**options)
        return keras.Model(whole.input, whole.get_layer("conv_pw_4_relu").output)

    monkeypatch.setattr(keras.applications, "MobileNet", short)


@pytest.fixture
def folders(few_blocks, variables_of, save_task1, save_selfie, tmp_path):
    """By format, the folder of a checkpoint."""
    variables = variables_of(classifier.build("mobilenet", num_classes=3, alpha=0.25), 32)
    of_task1 = save_task1(tmp_path / "task1", variables)
    places = [["stem", 3], ["block4", 1]]
    of_selfie = save_selfie(tmp_path / "selfie", variables, 9 * 8 + 64, places)
    return dict(zip(FILES, (of_task1, of_selfie, of_selfie, of_task1), strict=True))


@pytest.fixture
def photo(tmp_path):
    """A photo beside the export, and its pixels."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (9, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    return np.asarray(Image.open(tmp_path / "photo.jpg"))


def python_of(page):
    (code,) = re.findall(r"```python\n(.*?)```", Path(page).read_text(), re.DOTALL)
    return code


@pytest.fixture
def lines(tmp_path):
    """(files) -> by file, what the lines of its page print, in a process without cifsel."""

    def execute(*files):
        for file in files:
            (tmp_path / f"{file}.py").write_text(python_of(tmp_path / f"{file}.md"))
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_CIFSEL, *(f"{file}.py" for file in files)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        return {file: said[f"{file}.py"] for file in files}

    return execute


@pytest.mark.process
def test_each_format_answers_as_predict_does(run, folders, photo, lines, tmp_path):
    files = dict(FILES)
    if not all(map(importlib.util.find_spec, ("onnx", "jax2onnx", "onnxruntime"))):
        del files["onnx"]
    expected = {}
    for form, name in files.items():
        folder = folders[form]
        said, status = run(
            f"--checkpoint={folder}", f"--format={form}", f"--output={tmp_path / name}"
        )
        assert status == 0, said
        assert "largest difference to cifsel.predict" in said
        assert "Tensor" not in said  # Keras tells of all of them.
        made = predictor.load(str(folder))
        shown = made.show([photo], ["photo"])
        expected[form] = made.class_names, made.probabilities(shown)[0]
        if form == "onnx":
            check_onnx(tmp_path / name, made)
    said = lines(*files.values())
    for form, name in files.items():
        given = ast.literal_eval(said[name].strip().splitlines()[-1])
        class_names, probabilities = expected[form]
        assert tuple(given) == class_names
        np.testing.assert_allclose(list(given.values()), probabilities, atol=1e-5, err_msg=form)


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


def test_weights_are_read_by_keras_applications(run, task1, tmp_path, capsys):

    path = tmp_path / "it.h5"
    said, status = run(f"--checkpoint={task1}", "--format=keras", f"--output={path}")
    assert status == 0, said
    # The lines of its page, but for the size.
    code = python_of(f"{path}.md").replace("224, 224", "32, 32")
    scope = {}
    with contextlib.chdir(tmp_path):
        exec(code, scope)
    assert "conv_pw_13_relu" in capsys.readouterr().out
    tensors = keras_layout.tensors(source.load(str(task1)))
    layers = scope["backbone"].layers
    weights = {f"{layer.name}/{w.name}": w for layer in layers for w in layer.weights}
    assert set(weights) == set(tensors)
    for key, value in weights.items():
        np.testing.assert_array_equal(value, tensors[key])


def test_blocks_of_efficientnet_end_where_ours_do():
    import keras

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
