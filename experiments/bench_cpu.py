"""Why the code has a form of its own for CPUs: two measurements, each as a ratio within one run.

    python -m experiments.bench_cpu

1. A depthwise convolution with its gradients: XLA's grouped convolution against shifted
   multiply-adds (cifsel/models/layers.py).
2. A training step: called by itself against a scan of length 1 (cifsel/steps.py).
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from cifsel import optim, steps
from cifsel.data import augment
from cifsel.models import layers
from cifsel.models.classifier import build

ROUNDS = 7


def milliseconds(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median time of each, called in turn (A B A B) so that a slow moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        jax.block_until_ready(function())
    for _ in range(ROUNDS):
        for name, function in functions.items():
            began = time.perf_counter()
            jax.block_until_ready(function())
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def show(title: str, times: dict[str, float]) -> None:
    """Prints times and their ratios to the last one."""
    last = list(times.values())[-1]
    parts = [f"{name} {ms:.1f} ms ({ms / last:.1f}x)" for name, ms in times.items()]
    print(f"{title}: {', '.join(parts)}", flush=True)


def depthwise(batch: int, size: int, channels: int, stride: int) -> None:
    """Forward and both gradients of one layer."""
    key = jax.random.key(0)
    x = jax.random.normal(key, (batch, size, size, channels))
    kernel = jax.random.normal(key, (3, 3, 1, channels))
    padding = layers.same_padding(size, size, 3, stride)
    forms = {
        "grouped": functools.partial(layers._grouped, stride=stride, padding=padding),
        "shifted": functools.partial(layers._shifted, stride=stride, padding=padding),
    }

    def gradients(form: Callable[..., jax.Array]) -> Callable[[], Any]:
        loss = jax.jit(jax.value_and_grad(lambda x, k: jnp.sum(form(x, k) ** 2), (0, 1)))
        return functools.partial(loss, x, kernel)

    times = milliseconds({name: gradients(form) for name, form in forms.items()})
    show(f"depthwise {batch} x {size} x {size} x {channels}, stride {stride}", times)


def training_step(name: str, batch: int, image_size: int) -> None:
    """A step of AdamW with trained batch norm, by itself and as a scan of length 1."""
    model = build(name, num_classes=50)
    key = jax.random.key(0)
    initial = jax.jit(model.init)(key, jnp.zeros((1, image_size, image_size, 3)))
    variables = {part: initial[part] for part in ("params", "batch_stats")}
    rates = jax.tree.map(lambda _: 1.0, variables["params"])
    tx = optim.make(
        "adamw", optax.constant_schedule(1e-4), rates=rates, weight_decay=0.0, clip_norm=0.0
    )
    objective = steps.Objective(image_size, "bilinear", augment.Policy(), frozen_bn=False)
    state = steps.init_state(variables, tx, 0.0)
    step = functools.partial(steps.train_step, model=model, tx=tx, rates=rates, objective=objective)
    images = jax.random.randint(key, (batch, 32, 32, 3), 0, 256).astype(jnp.uint8)
    data = {
        "inputs": images,
        "labels": jnp.zeros(batch, jnp.int32),
        "mask": jnp.ones(batch),
    }
    one = jax.tree.map(lambda a: a[None], data)
    scanned = jax.jit(
        lambda state, one: jax.lax.scan(lambda s, b: (step(s, b, key), None), state, one)[0]
    )
    single = jax.jit(lambda state, data: step(state, data, key))
    times = milliseconds(
        {
            "scan of length 1": lambda: scanned(state, one),
            "by itself": lambda: single(state, data),
        }
    )
    show(f"training step, {name}, {batch} images of {image_size} px", times)


def main() -> None:
    """Prints all ratios."""
    device = jax.devices()[0]
    print(f"jax {jax.__version__}, {device.device_kind}, medians of {ROUNDS} rounds")
    for shape in ((16, 64, 64, 2), (16, 32, 128, 1), (16, 16, 256, 1), (16, 8, 512, 1)):
        depthwise(*shape)
    training_step("efficientnetv2-mini", 64, 64)
    training_step("efficientnetv2-b0", 16, 96)
    training_step("mobilenet", 16, 96)


if __name__ == "__main__":
    main()
