"""Measures the limits of the machine and counts the operations of a forward pass.

    python -m experiments.bench.machine DTYPE SIZE [SIZE ...]

Prints `entries.Machine` as JSON: versions, the rates of a matrix product and of copying memory in
JAX, and the floating-point operations per image of each model at each size.
"""

import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cifsel.config import Parser
from cifsel.models.classifier import build
from cifsel.runtime import command, memory, terminal
from cifsel.workdir import provenance
from experiments.bench.entries import Machine
from experiments.bench.work import CLASSES, MODELS

_SIDE = 3072  # of the square matrices, 38 MB each
_ROUNDS = 9


def median_seconds(function: Callable[[], Any]) -> float:
    """Median seconds of a function of JAX arrays, after two calls as a warm-up."""
    times = []
    for _ in range(2 + _ROUNDS):
        began = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def matmul_gflops(dtype: str) -> float:
    """Rate of a large square matrix product, in 1e9 operations per second."""
    a = jax.random.normal(jax.random.key(0), (_SIDE, _SIDE), jnp.dtype(dtype))
    product = jax.jit(jnp.dot)
    return 2 * _SIDE**3 / median_seconds(lambda: product(a, a)) / 1e9


def copy_gigabytes() -> float:
    """Rate of x + 1 over 512 MB, in 1e9 bytes read and written per second."""
    x = jnp.zeros(2**27, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / median_seconds(lambda: add(x)) / 1e9


def forward_gflops(model: str, size: int) -> float:
    """Operations of one image in 1e9, counted by XLA before it optimises the program."""
    built = build(model, num_classes=CLASSES)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(built.init, jax.random.key(0), image)
    analysis: Any = jax.jit(built.apply).lower(variables, image).cost_analysis()
    return float(analysis["flops"]) / 1e9


def main(dtype: str, sizes: list[int]) -> None:
    """Measures and prints the JSON."""
    memory.keep_freed()
    device = jax.devices()[0]
    machine = Machine(
        processor=provenance.processor(),
        device=f"{len(jax.devices())} x {device.device_kind}",
        python=platform.python_version(),
        jax=jax.__version__,
        matmul_gflops=matmul_gflops(dtype),
        copy_gigabytes=copy_gigabytes(),
        forward_gflops={
            model: {str(size): forward_gflops(model, size) for size in sizes} for model in MODELS
        },
    )
    terminal.answer(json.dumps(dataclasses.asdict(machine)))


if __name__ == "__main__":
    parser = Parser("experiments.bench.machine", __doc__)
    parser.add_argument("dtype", metavar="DTYPE", help="of the matrix product, such as float32")
    parser.add_argument("sizes", nargs="+", type=int, metavar="SIZE", help="pixels")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: main(flags.dtype, flags.sizes))
