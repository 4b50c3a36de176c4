"""What both models would take on TPU slices.

    python -m experiments.tpu.preflight

No TPU is needed: pip install 'cifsel[tpu-aot]'. Compiles each recipe's gradient steps and forward
pass for several slices, and the step of one chip with each form of the depthwise convolution, adds
what it finds to preflight.json beside this file, and prints the tables of experiments/README.md.
"""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import jax
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel.config import arguments
from cifsel.models import layers
from cifsel.models.cpu import depthwise
from cifsel.preflight import chips, compiler, programs
from cifsel.runtime import command, sharding
from cifsel.terminal import say
from configs import effnet, mobilenet

RESULT = Path(__file__).with_name("preflight.json")
CONFIGS = {"mobilenet": mobilenet.get_config, "efficientnetv2-b0": effnet.get_config}
SLICES = ("v5e:1x1", "v5e:2x4", "v6e:2x4", "v5e:4x8")
AT_224 = {"image_size": 224, "train_size": 0, "batch_size": 128, "eval_batch_size": 128}
FORMS: dict[str, Callable[..., jax.Array]] = {
    "grouped convolution": layers.grouped_conv,
    "shifted multiply-adds": depthwise.depthwise_conv,
}


@contextmanager
def depthwise_as(form: Callable[..., jax.Array]) -> Iterator[None]:
    """Has the models use that form of the depthwise convolution, whatever the platform."""
    with mock.patch.object(layers, "depthwise_conv", form):
        jax.clear_caches()  # Traces know nothing of the patch.
        yield
    jax.clear_caches()


def measured(
    config: ConfigDict, topology: str, names: tuple[str, ...] = ("training", "logits")
) -> Iterator[dict[str, Any]]:
    """What the compiler says of some programs of a config's run."""
    chip, mesh = chips.parse(topology), sharding.in_a_row(compiler.devices(topology))
    for program in programs.of_run(config, mesh):
        if program.name not in names:
            continue
        found = compiler.analyse(program, topology)
        entry = {
            "model": config.model,
            "pixels": config.image_size,
            "topology": topology,
            "program": program.name,
            "images": program.images,
            "chips": mesh.size,
            "runs": program.runs,
        }
        if isinstance(found, compiler.Compiled):
            limits = chips.bounds(chip, mesh.size, found.flops, found.moved, found.reduced or 0.0)
            entry |= {"limit": limits.limit, "seconds_at_best": limits.seconds}
        yield entry | dataclasses.asdict(found)


def slices() -> Iterator[dict[str, Any]]:
    """Both recipes as they are, and on one chip also at 224 px with 128 images."""
    for topology in SLICES:
        for get_config in CONFIGS.values():
            yield from measured(get_config(), topology)
            if topology == SLICES[0]:
                yield from measured(config_lib.changed(get_config(), AT_224), topology)


def forms() -> Iterator[dict[str, Any]]:
    """A gradient step of one chip in each form of the depthwise convolution."""
    for get_config in CONFIGS.values():
        config = config_lib.changed(get_config(), AT_224)
        for name, form in FORMS.items():
            with depthwise_as(form):
                for entry in measured(config, "v5e:1x1", ("training",)):
                    yield entry | {"form": name}


def table(entries: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| slice | model | px | program | images/chip | memory | GFLOP | GB moved | at best"
        " | images/s |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in entries:
        start = (
            f"| {one['topology']} | {one['model']} | {one['pixels']} |"
            f" {one.get('form', one['program'])} | {one['images'] // one['chips']} |"
        )
        if "needed" in one:
            lines.append(f"{start} does not fit: {one['needed'] / 1e9:.1f} GB | | | | |")
            continue
        memory = sum(one[part] for part in ("arguments", "outputs", "temporaries", "code"))
        lines.append(
            f"{start} {memory / 1e9:.2f} GB | {one['flops'] / 1e9:.1f} |"
            f" {one['moved'] / 1e9:.2f} | {one['seconds_at_best'] * 1e3:.2f} ms, {one['limit']} |"
            f" {one['images'] / one['seconds_at_best']:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compiles, records, prints."""
    arguments.Parser("experiments.tpu.preflight", __doc__).parse_args()
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
            RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for part in (slices, forms):
        say(f"\n{table(result[part.__name__])}")


if __name__ == "__main__":
    main()
