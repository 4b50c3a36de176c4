"""Depthwise convolution in the form that XLA's CPU backend runs fast, with its gradients.

On a CPU, XLA runs a grouped convolution without vectorising over channels. Here it is one shifted
multiply-add per kernel position. Autodiff of that form copies each shifted window for the gradient
of the kernel, so the gradients are written out too. experiments/bench measures what this brings.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cifsel.models.cpu import windows
from cifsel.models.cpu.tracing import traced_once
from cifsel.models.cpu.windows import Padding

# Products that one partial sum of a kernel's gradient adds up. More need more registers than a CPU
# has. Fewer leave more partial sums to write and read. Best of 2 to 32 on AVX-512.
_TERMS = 16


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
@traced_once(2, 3)
def depthwise_conv(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k 1 c"], stride: int, padding: Padding
) -> Float[Array, "b H W c"]:
    """Computes `layers.depthwise_conv` as one shifted multiply-add per kernel position."""
    x = windows.pad(x, padding)
    k = kernel.shape[0]
    size = windows.output_size(x, k, stride)
    total = jnp.zeros((), x.dtype)
    for i, j in windows.positions(k):
        pixels = windows.window(x, (i, j), size, (stride, stride))
        total += pixels * kernel[i, j, 0][None, None, None]
    return total


@traced_once(0, 1)
def _depthwise_backward(
    stride: int, padding: Padding, saved: tuple[Array, Array], grads: Float[Array, "b H W c"]
) -> tuple[Float[Array, "b h w c"], Float[Array, "k k 1 c"]]:
    x, kernel = saved
    # Without the barrier, XLA computes what led to `grads` again for every kernel position.
    grads = jax.lax.optimization_barrier(grads)
    k = len(kernel)

    def send(grads: Array) -> Callable[[int, int], Array]:
        return lambda i, j: grads * kernel[i, j, 0][None, None, None]

    return (
        windows.input_gradient(grads, send, k=k, stride=stride, padding=padding, shape=x.shape),
        _kernel_gradient(windows.pad(x, padding), grads, stride, k),
    )


depthwise_conv.defvjp(windows.keeping_inputs(depthwise_conv), _depthwise_backward)


def _kernel_gradient(
    x: Float[Array, "b h w c"], grads: Float[Array, "b H W c"], stride: int, k: int
) -> Float[Array, "{k} {k} 1 c"]:
    """Sums the products of the gradients with each window of the padded input x.

    The first sums are over small blocks of positions. Each is one expression that is vectorised
    over channels. The second sum is over all blocks. XLA's own reduction of such a product is
    several times slower. XLA computes at most three windows of a row in one pass over memory.
    """
    _, rows, columns, _ = grads.shape
    wide = _divisor(columns, _TERMS)
    high = _divisor(rows, _TERMS // wide)
    blocks, steps = (rows // high, columns // wide), (stride * high, stride * wide)

    def partial_sums(i: int, j: int) -> Array:
        total = jnp.zeros((), x.dtype)
        for a, b in ((a, b) for a in range(high) for b in range(wide)):
            here = grads[:, a::high, b::wide]
            total += here * windows.window(x, (i + a * stride, j + b * stride), blocks, steps)
        return total

    def of_row(i: int) -> Array:
        sums = jnp.stack([partial_sums(i, j) for j in range(k)], 3)
        return jax.lax.optimization_barrier(sums).sum((0, 1, 2))

    return jnp.stack([of_row(i) for i in range(k)])[:, :, None]


def _divisor(size: int, limit: int) -> int:
    """Returns the largest divisor of `size` up to `limit`."""
    return next(d for d in range(min(size, limit), 0, -1) if size % d == 0)
