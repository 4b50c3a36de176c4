"""An engine computes only where it answers as JAX does, and sooner. Answers name it."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifsel import predict
from cifsel.errors import UserError
from cifsel.evaluation.features import View
from cifsel.models import classifier
from cifsel.prediction import answers, engines, formats, predictor
from cifsel.prediction.predictor import JAX
from cifsel.prediction.trained_model import TrainedModel

SHOWN, SIZE = 12, 16


@pytest.fixture
def trained(build_tiny):
    """A checkpoint of task 1 that averages over mirror images."""
    model = build_tiny("efficientnetv2-mini", num_classes=3)
    variables = jax.jit(functools.partial(classifier.initial, model, SIZE))(jax.random.key(0))
    view = View(SIZE, "bilinear", mirror=True)
    names = ("a", "b", "c")
    return TrainedModel(model, variables, view, SHOWN, names, ConfigDict(), "data", "digest")


@pytest.fixture
def stage(trained, monkeypatch, tmp_path):
    """Engines that are functions; gives what was done."""
    done = []
    by_engine = {engines.OPENVINO: 0.0, engines.ONNXRUNTIME: 0.0}  # Errors of the logits.

    def to_onnx(compute, size):
        done.append("graph")
        stage.compute = jax.jit(compute)
        return b"graph"

    def opened(engine, graph):
        assert graph == b"graph"
        done.append(f"{engine} opened")

        def run(images):
            assert images.shape[1:] == (SIZE, SIZE, 3)
            assert images.dtype == np.float32
            outputs = np.array(stage.compute(jnp.asarray(images)))
            outputs[:, 0] += by_engine[engine]
            return outputs

        return run

    def stage():
        """Only has attributes."""

    stage.done, stage.error = done, by_engine
    monkeypatch.setenv("CIFSEL_CACHE", str(tmp_path))
    monkeypatch.setattr(engines, "is_installed", lambda _: True)
    monkeypatch.setattr(engines.importlib.metadata, "version", lambda _: "1.0")
    monkeypatch.setattr(engines, "to_onnx", to_onnx)
    monkeypatch.setattr(engines, "opened", opened)
    monkeypatch.setattr(engines.restoring, "run_of", lambda _: None)
    monkeypatch.setattr(engines.restoring, "restore", lambda _: trained)
    return stage


def gains(monkeypatch, **by_engine):
    """Sets how many times as fast as JAX each engine seems to be."""
    real = engines.measured

    def measured(made, plain):
        return dataclasses.replace(real(made, plain), gain=by_engine[made.runtime])

    monkeypatch.setattr(engines, "measured", measured)


def images():
    return np.random.default_rng(0).integers(0, 256, (5, SHOWN, SHOWN, 3)).astype(np.uint8)


def test_an_engine_that_is_asked_for_answers_as_jax_does(stage, trained):
    made = engines.load("run", engines.OPENVINO)
    assert made.runtime == engines.OPENVINO
    expected = predictor.of(trained).probabilities(images())
    np.testing.assert_allclose(made.probabilities(images()), expected, atol=1e-6)


def test_auto_takes_the_quickest_and_compares_once(stage, monkeypatch):
    gains(monkeypatch, openvino=1.3, onnxruntime=1.9)
    assert engines.load("run", engines.AUTO, 10**6).runtime == engines.ONNXRUNTIME
    assert stage.done.count("graph") == 1
    stage.done.clear()
    assert engines.load("run", engines.AUTO, 1).runtime == engines.ONNXRUNTIME
    assert stage.done == ["onnxruntime opened"]


def test_auto_makes_no_graph_for_a_few_photos(stage):
    assert engines.load("run", engines.AUTO, 100).runtime == JAX
    assert not stage.done


def test_auto_leaves_what_gains_little_or_differs_to_jax(stage, monkeypatch):
    gains(monkeypatch, openvino=1.1, onnxruntime=9.0)
    stage.error[engines.ONNXRUNTIME] = 0.01
    assert engines.load("run", engines.AUTO, 10**6).runtime == JAX
    with pytest.raises(UserError, match="--runtime=onnxruntime differs from JAX by"):
        engines.load("run", engines.ONNXRUNTIME)
    assert engines.load("run", engines.OPENVINO).runtime == engines.OPENVINO


def test_an_engine_that_fails_is_a_warning(stage, monkeypatch, capsys):
    monkeypatch.setattr(engines, "to_onnx", lambda *_: 1 / 0)
    assert engines.load("run", engines.AUTO, 10**6).runtime == JAX
    assert "an engine failed (division by zero)" in capsys.readouterr().err


def test_what_is_not_installed_is_one_line(stage, monkeypatch):
    monkeypatch.setattr(engines, "is_installed", lambda _: False)
    assert engines.load("run", engines.AUTO, 10**6).runtime == JAX
    with pytest.raises(UserError, match=r"--runtime=openvino is not installed: pip install"):
        engines.load("run", engines.OPENVINO)


def test_times_are_taken_in_turns(trained, monkeypatch):
    quick = predictor.of(trained)
    order, clock = [], [0.0]
    monkeypatch.setattr(engines, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def taking(name, seconds):
        def logits(shown):
            order.append(name)
            clock[0] += seconds
            return np.zeros((len(shown), 3))

        return logits

    plain = dataclasses.replace(quick, logits=taking("jax", 6.0))
    engine = dataclasses.replace(quick, logits=taking("engine", 2.0), runtime="engine")
    assert engines.measured(engine, plain) == engines.Trial(difference=0.0, gain=3.0)
    assert order[-4:] == ["jax", "engine"] * 2


def test_records_name_the_engine(trained):
    made = predictor.of(trained)
    by_engine = dataclasses.replace(made, runtime="openvino")
    given = [answers.Answer("x.jpg", np.array([0.2, 0.3, 0.5]))]
    assert '"runtime": "openvino"' in formats.as_json(given, by_engine)
    assert "runtime" not in formats.as_json(given, made)
    header, line = formats.as_csv(given, by_engine)
    assert dict(zip(header.split(","), line.split(","), strict=True))["runtime"] == "openvino"
    assert "runtime" not in next(formats.as_csv(given, made))


def test_the_command_knows_the_runtimes():
    assert predict.RUNTIMES == engines.RUNTIMES


@pytest.mark.slow
@pytest.mark.parametrize("engine", engines.ENGINES)
def test_real_engines_answer_as_jax_does(trained, monkeypatch, tmp_path, engine):
    for package in (engine, "jax2onnx", "onnx"):
        pytest.importorskip(package)
    monkeypatch.setenv("CIFSEL_CACHE", str(tmp_path))
    monkeypatch.setattr(engines.restoring, "run_of", lambda _: None)
    monkeypatch.setattr(engines.restoring, "restore", lambda _: trained)
    made = engines.load("run", engine)
    assert made.runtime == engine
    expected = predictor.of(trained).probabilities(images())
    np.testing.assert_allclose(made.probabilities(images()), expected, atol=1e-5)
