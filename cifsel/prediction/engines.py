"""The forward pass of a checkpoint by an inference engine in the place of JAX, on CPUs.

onnxruntime and OpenVINO pack weights for their shape ahead of time, and fuse more layers than XLA
does. Both read the same ONNX graph, from resized images to logits, or to the features of task 2.

A graph is made once for each checkpoint, which takes longer than a hundred answers. It is compared
with JAX and timed beside it. Graph, comparison and times are kept in the cache folder.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from cifsel import workdir
from cifsel.errors import UserError, one_line
from cifsel.evaluation import features
from cifsel.prediction import predictor as predictors
from cifsel.prediction import restoring
from cifsel.prediction.exports import onnx_format, parity
from cifsel.prediction.predictor import JAX, Predictor
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime import cache, remote, threads
from cifsel.runtime.bars import working
from cifsel.runtime.paths import expanded
from cifsel.runtime.terminal import warn
from cifsel.workdir import provenance

AUTO, OPENVINO, ONNXRUNTIME = "auto", "openvino", "onnxruntime"
ENGINES = (OPENVINO, ONNXRUNTIME)
RUNTIMES = (AUTO, JAX, *ENGINES)
# Answers from which on 'auto' makes and times graphs that are not there yet.
WORTH_MAKING = 20_000
# An engine that gains less is not worth another digit in the answers.
_LEAST_GAIN = 1.15
_ROUNDS = 5
_GRAPH, _RECORD = "graph.onnx", "record.json"

# Resized images (B, t, t, 3) float32 -> outputs (B, ...) float32.
Run = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Trial:
    """An engine beside JAX, with one checkpoint on one machine.

    Attributes:
      difference: the largest of a probability.
      gain: how many times as fast as JAX it answers for a batch.
    """

    difference: float
    gain: float

    @property
    def is_good(self) -> bool:
        """Whether its answers are those of JAX, and come sooner."""
        return self.difference <= parity.TOLERANCE and self.gain >= _LEAST_GAIN


def load(folder: str, runtime: str, answers: int = 0) -> Predictor:
    """Restores the model of a run, with the runtime that is asked for or quickest.

    Args:
      folder: as `prediction.load` takes it.
      runtime: one of `RUNTIMES`. 'auto' takes an engine that is installed, has JAX's answers, and
        is quicker on this machine.
      answers: how many are wanted, if that is known.

    Raises:
      UserError: as `prediction.load`. Or the engine that is asked for is not installed, cannot
        compute this model, or answers otherwise than JAX.
    """
    trained = restoring.restore(restoring.run_of(remote.place(expanded(folder))))
    plain = predictors.of(trained)
    if runtime == JAX or (runtime == AUTO and _obstacle(trained)):
        return plain
    if runtime != AUTO:
        return _asked_for(runtime, trained, plain)
    try:
        made = [
            (trial.gain, engine)
            for engine in filter(is_installed, ENGINES)
            if (trial := _trial(engine, trained, plain, make=answers >= WORTH_MAKING))
            and trial.is_good
        ]
        return _with_engine(max(made)[1], trained) if made else plain
    except Exception as error:  # Of engines, which raise what they like. JAX answers too.
        warn(f"JAX computes, as an engine failed ({one_line(error)}): --runtime=jax is quiet")
        return plain


def is_installed(engine: str) -> bool:
    """Whether an engine can be imported."""
    return importlib.util.find_spec(engine) is not None


def _asked_for(engine: str, trained: TrainedModel | SelfieModel, plain: Predictor) -> Predictor:
    """The predictor of one engine. Raises UserError as `load`."""
    if not is_installed(engine):
        raise UserError(f"--runtime={engine} is not installed: pip install 'cifsel[fast]'")
    if obstacle := _obstacle(trained):
        raise UserError(f"--runtime={engine} cannot compute this model: {obstacle}")
    trial = _trial(engine, trained, plain, make=True)
    if trial is None or not trial.difference <= parity.TOLERANCE:
        differs = f"{trial.difference:.1e}" if trial else "an unknown amount"
        raise UserError(
            f"--runtime={engine} differs from JAX by {differs} in a probability, more than"
            f" {parity.TOLERANCE:g}: leave --runtime out, and report this"
        )
    return _with_engine(engine, trained)


def _obstacle(trained: TrainedModel | SelfieModel) -> str:
    """Why no engine can take the place of JAX. '' if one can."""
    if jax.default_backend() != "cpu":
        return f"it runs on {jax.default_backend()}, where JAX is quicker"
    if jax.device_count() > 1:
        return f"it runs on {jax.device_count()} devices"
    if jnp.dtype(trained.model.backbone.dtype) != jnp.float32:
        return "its activations are not float32"
    return ""


# --- graphs ---------------------------------------------------------------------------------------


def to_onnx(compute: Callable[[jax.Array], Any], size: int) -> bytes:
    """The ONNX graph of a function of resized images (B, size, size, 3) float32.

    Raises:
      UserError: jax2onnx or onnx is not installed.
    """
    images = jax.ShapeDtypeStruct(("batch", size, size, 3), jnp.float32)
    return onnx_format.graph(compute, images).SerializeToString()


def opened(engine: str, graph: bytes) -> Run:
    """The function that an engine computes from a graph, with all cores of this process."""
    if engine == ONNXRUNTIME:
        return _in_onnxruntime(graph)
    return _in_openvino(graph)


def _in_onnxruntime(graph: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.cores()
    # Its threads must leave the cores to those that decode photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(None, {onnx_format.INPUT: images})[0])


def _in_openvino(graph: bytes) -> Run:
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads.cores(),
        # It would take bfloat16 where the CPU has it.
        "INFERENCE_PRECISION_HINT": "f32",
    }

    @functools.cache
    def request(shape: tuple[int, ...]) -> Any:
        # Weights are packed for one shape.
        model = core.read_model(graph)
        model.reshape(list(shape))
        return core.compile_model(model, "CPU", settings).create_infer_request()

    return lambda images: np.array(request(images.shape).infer({0: images})[0])


def _outputs(trained: TrainedModel | SelfieModel) -> Callable[[jax.Array], Any]:
    """The function of resized images that `predictor.of` calls, with the weights inside."""
    view = dataclasses.replace(trained.view, mirror=False)
    if isinstance(trained, TrainedModel):
        forward = features.logits(trained.model, view)
    else:
        forward = features.cells(trained.model, view, trained.meta.places)
    # The function is jitted for XLA. The graph is of what is inside.
    variables = jax.device_put(trained.variables)
    return functools.partial(inspect.unwrap(forward), variables)


def _with_engine(engine: str, trained: TrainedModel | SelfieModel) -> Predictor:
    """The predictor that computes by an engine. Its graph is kept."""
    run = opened(engine, (_folder(trained) / _GRAPH).read_bytes())
    # JAX resizes, as no engine has that operation.
    views = jax.jit(trained.view.of)

    def forward(images: jax.Array) -> np.ndarray:
        outputs = [run(np.asarray(shown)) for shown in views(images)]
        return outputs[0] if len(outputs) == 1 else np.mean(outputs, 0)

    return dataclasses.replace(predictors.of(trained, forward), runtime=engine)


# --- what is kept ---------------------------------------------------------------------------------


def _folder(trained: TrainedModel | SelfieModel) -> Path:
    """The folder of a checkpoint, by its hash, below that of all engines."""
    key = f"{trained.digest} {importlib.metadata.version('cifsel')}"
    return cache.folder() / "engines" / hashlib.sha256(key.encode()).hexdigest()[:32]


def _trial(
    engine: str, trained: TrainedModel | SelfieModel, plain: Predictor, *, make: bool
) -> Trial | None:
    """The trial of an engine that is kept, or a new one. None if there is none and none is made."""
    folder = _folder(trained)
    record = epath.Path(folder / _RECORD)
    kept: dict[str, Any] = workdir.read_json(record) if record.exists() else {}
    # Times are those of a machine, and a cache may be shared.
    name = f"{engine} {importlib.metadata.version(engine)}, {provenance.processor()}"
    if name in kept and (folder / _GRAPH).exists():
        return Trial(**kept[name])
    if not make:
        return None
    with working(f"comparing {engine} with JAX, which the next command need not do again"):
        if not (folder / _GRAPH).exists():
            folder.mkdir(parents=True, exist_ok=True)
            graph = to_onnx(_outputs(trained), trained.view.image_size)
            workdir.write_bytes(epath.Path(folder / _GRAPH), graph)
        made = measured(_with_engine(engine, trained), plain)
    workdir.write_json(record, kept | {name: dataclasses.asdict(made)})
    return made


def measured(by_engine: Predictor, plain: Predictor) -> Trial:
    """Compares two predictors of one checkpoint, and times them in turns."""
    difference = parity.largest(by_engine.probabilities, plain)
    images = parity.images_for_check(plain.size)[: predictors.batch_size()]
    seconds: dict[str, list[float]] = {JAX: [], by_engine.runtime: []}
    for number in range(_ROUNDS + 1):
        for made in (plain, by_engine):
            began = time.perf_counter()
            made.logits(images)
            if number:  # The first is a warm-up.
                seconds[made.runtime].append(time.perf_counter() - began)
    gain = statistics.median(seconds[JAX]) / statistics.median(seconds[by_engine.runtime])
    return Trial(difference, gain)
