"""Asks the TPU compiler for memory and time of both recipes on TPU slices.

    python -m experiments.tpu.preflight

Needs no TPU, but pip install 'cifsel[tpu-aot]'. Compiles gradient steps and forward passes of each
recipe for several slices. Compiles the step of one chip also with each form of the depthwise
convolution. Writes results/preflight.json and prints its tables.
"""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel.config import Parser
from cifsel.models import layers
from cifsel.models.cpu import depthwise
from cifsel.preflight import chips, compiler, programs
from cifsel.runtime import command, sharding
from cifsel.runtime.terminal import say
from configs import effnet, mobilenet
from experiments import RESULTS
from experiments.tables.tpu import table

RECORD = RESULTS / "preflight.json"
CONFIGS = {"mobilenet": mobilenet.get_config, "efficientnetv2-b0": effnet.get_config}
SLICES = ("v5e:1x1", "v5e:2x4", "v6e:2x4", "v5e:4x8")
AT_224 = {"image_size": 224, "train_size": 0, "batch_size": 128, "eval_batch_size": 128}
FORMS: dict[str, Callable[..., jax.Array]] = {
    "grouped convolution": layers.grouped_conv,
    "shifted multiply-adds": depthwise.depthwise_conv,
}


@contextmanager
def depthwise_as(form: Callable[..., jax.Array]) -> Iterator[None]:
    """Makes the models use one form of the depthwise convolution on every platform."""
    with mock.patch.object(layers, "depthwise_conv", form):
        jax.clear_caches()  # Cached traces have the other form.
        yield
    jax.clear_caches()


def measured(
    config: ConfigDict, topology: str, names: tuple[str, ...] = ("training", "logits")
) -> Iterator[dict[str, Any]]:
    """Analyses of the named programs of a run with this config."""
    chip, mesh = chips.parse(topology), sharding.in_a_row(compiler.devices(topology))
    for program in programs.of_run(config, mesh):
        if program.name not in names:
            continue
        analysis = compiler.analyse(program, topology)
        entry = {
            "model": config.model,
            "pixels": config.image_size,
            "topology": topology,
            "program": program.name,
            "images": program.images,
            "chips": mesh.size,
            "runs": program.runs,
        }
        if isinstance(analysis, compiler.Compiled):
            reduced = analysis.reduced or 0.0
            limits = chips.bounds(chip, mesh.size, analysis.flops, analysis.moved, reduced)
            entry |= {"limit": limits.limit, "seconds_at_best": limits.seconds}
        yield entry | dataclasses.asdict(analysis)


def slices() -> Iterator[dict[str, Any]]:
    """Both recipes on all slices. On one chip also at 224 px with 128 images."""
    for topology in SLICES:
        for get_config in CONFIGS.values():
            yield from measured(get_config(), topology)
            if topology == SLICES[0]:
                yield from measured(config_lib.changed(get_config(), AT_224), topology)


def forms() -> Iterator[dict[str, Any]]:
    """Gradient steps of one chip in each form of the depthwise convolution."""
    for get_config in CONFIGS.values():
        config = config_lib.changed(get_config(), AT_224)
        for name, form in FORMS.items():
            with depthwise_as(form):
                for entry in measured(config, "v5e:1x1", ("training",)):
                    yield entry | {"form": name}


def main() -> None:
    """Compiles, writes the record, and prints the tables."""
    Parser("experiments.tpu.preflight", __doc__).parse_args()
    command.start()
    jax.config.update("jax_platforms", "cpu")
    result: dict[str, Any] = {
        "command": "python -m experiments.tpu.preflight",
        "jax": jax.__version__,
        "libtpu": importlib.metadata.version("libtpu"),
    }
    for part in (slices, forms):
        result[part.__name__] = []
        for entry in part():
            result[part.__name__].append(entry)
            say(table([entry]).splitlines()[-1])
            RECORD.write_text(json.dumps(result, indent=1) + "\n")
    for part in (slices, forms):
        say(f"\n{table(result[part.__name__])}")


if __name__ == "__main__":
    main()
