"""Convolutions in the form that XLA's CPU backend runs fast, with gradients written for it.

On a CPU, XLA runs a grouped convolution without vectorising over channels, and what autodiff makes
of the faster forms wastes again: the gradient of a depthwise kernel copies each shifted window,
that of a 1x1 kernel lands on a matrix product with the wide operand transposed, and that of a dense
3x3 kernel on a convolution with windows as large as the image. `layers` chooses these forms where
the code is compiled for a CPU; experiments/bench measures what they bring.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

# Products that one partial sum of a kernel's gradient adds up: more would need more registers than
# a CPU has, fewer leave more partial sums to write and read. Best of 2 to 32 on AVX-512.
_TERMS = 16
# Channels up to which a dense convolution is one matrix product: those of an image.
_FEW = 3
# Products that sum over the rows, or the columns, of both operands.
_OVER_ROWS, _OVER_COLUMNS = (((0,), (0,)), ((), ())), (((1,), (1,)), ((), ()))
# The kinds of operations that XLA hands to YNNPACK.
_SUMS_BY_YNNPACK = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}


@functools.cache
def compiler_options() -> dict[str, str] | None:
    """What to compile forward passes and training steps with, on a CPU, where XLA has the option.

    Since JAX 0.10.1, XLA hands sums, matrix products and dense convolutions to YNNPACK on a CPU.
    Without its sums, training steps take twice as long; but dense convolutions are quicker by
    Eigen, which has them otherwise: EfficientNetV2's forward pass takes 0.82 of the time, its
    training steps 0.92 (experiments/README.md).
    """
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x, compiler_options=_SUMS_BY_YNNPACK)(0.0)
    except jax.errors.JaxRuntimeError:  # An XLA without the option has no YNNPACK, either.
        return None
    return _SUMS_BY_YNNPACK


def _keeping_inputs(operation: Callable[..., Array]) -> Callable[..., Any]:
    """The forward rule of a custom gradient that needs what `operation` was given."""

    def forward(x: Array, kernel: Array, *options: Any) -> tuple[Array, tuple[Array, Array]]:
        return operation(x, kernel, *options), (x, kernel)

    return forward


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """`layers.depthwise_conv` as one shifted multiply-add per kernel position."""
    x = _pad(x, padding)
    k = kernel.shape[0]
    size = _output_size(x, k, stride)
    total = jnp.zeros((), x.dtype)
    for i, j in _positions(k):
        total += _window(x, (i, j), size, (stride, stride)) * kernel[i, j, 0]
    return total


def _depthwise_backward(
    stride: int, padding: Padding, saved: tuple[Array, Array], grads: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    # Without the barrier, XLA computes what led to `grads` again for every kernel position.
    grads = jax.lax.optimization_barrier(grads)
    k = len(kernel)

    def send(grads: Array) -> Callable[[int, int], Array]:
        return lambda i, j: grads * kernel[i, j, 0]

    return (
        _input_gradient(grads, send, k=k, stride=stride, padding=padding, shape=x.shape),
        _kernel_gradient(_pad(x, padding), grads, stride, k),
    )


depthwise.defvjp(_keeping_inputs(depthwise), _depthwise_backward)


def _input_gradient(
    grads: Array,
    send: Callable[[Array], Callable[[int, int], Array]],
    *,
    k: int,
    stride: int,
    padding: Padding,
    shape: tuple[int, ...],
) -> Array:
    """Each pixel of the input gathers from the outputs it went to.

    `send` is given gradients of outputs (B, h, w, D) and returns a function of kernel positions:
    what each of these outputs sends back through that position, (B, h, w, C).
    Pixels of one phase (row and column modulo the stride) gather from the same kernel positions, so
    that each phase is a sum of plain windows, and no zeros are put between the gradients.
    """
    batch, height, width, channels = shape
    rows, columns = -(-height // stride), -(-width // stride)
    # A pixel went to outputs before and after its own place; beyond the edge these are zeros.
    first = [max(0, -((low - k + 1) // stride)) for low, _ in padding]
    past = [max(0, (low + stride - 1) // stride) for low, _ in padding]
    sent = send(
        _pad(
            grads,
            (
                (first[0], max(0, past[0] + rows - grads.shape[1])),
                (first[1], max(0, past[1] + columns - grads.shape[2])),
            ),
        )
    )

    def phase(a: int, b: int) -> Array:
        total = jnp.zeros((batch, rows, columns, channels), grads.dtype)
        for i, j in _positions(k):
            row, past_row = divmod(a + padding[0][0] - i, stride)
            column, past_column = divmod(b + padding[1][0] - j, stride)
            if past_row == past_column == 0:
                start = (first[0] + row, first[1] + column)
                total += _window(sent(i, j), start, (rows, columns), (1, 1))
        return total

    phases = [jnp.stack([phase(a, b) for b in range(stride)], 3) for a in range(stride)]
    whole = jnp.stack(phases, 2).reshape(batch, rows * stride, columns * stride, channels)
    return whole[:, :height, :width]


def _kernel_gradient(x: Array, grads: Array, stride: int, k: int) -> Array:
    """(k, k, 1, C): sums of products of the gradients with each window of the padded input.

    First over small blocks of positions, each as one expression that is vectorised over channels,
    then over all blocks: XLA's own reduction of such a product is several times slower. Three
    windows of a row are as many as XLA computes in one pass over memory.
    """
    _, rows, columns, _ = grads.shape
    wide = _divisor(columns, _TERMS)
    high = _divisor(rows, _TERMS // wide)
    blocks, steps = (rows // high, columns // wide), (stride * high, stride * wide)

    def partial_sums(i: int, j: int) -> Array:
        total = jnp.zeros((), x.dtype)
        for a, b in ((a, b) for a in range(high) for b in range(wide)):
            here = grads[:, a::high, b::wide]
            total += here * _window(x, (i + a * stride, j + b * stride), blocks, steps)
        return total

    def of_row(i: int) -> Array:
        sums = jnp.stack([partial_sums(i, j) for j in range(k)], 3)
        return jax.lax.optimization_barrier(sums).sum((0, 1, 2))

    return jnp.stack([of_row(i) for i in range(k)])[:, :, None]


def _over_rows(a: Array, b: Array) -> Array:
    """a.T @ b. The left operand is transposed on the way, so let it be the narrow one."""
    if a.shape[1] <= b.shape[1]:
        return jax.lax.dot_general(a, b, _OVER_ROWS)
    # The barrier keeps XLA from exchanging them again.
    return jax.lax.optimization_barrier(jax.lax.dot_general(b, a, _OVER_ROWS)).T


@jax.custom_vjp
def matmul(x: Array, kernel: Array) -> Array:
    """(N, C) times (C, D)."""
    return jnp.dot(x, kernel)


def _matmul_backward(saved: tuple[Array, Array], grads: Array) -> tuple[Array, Array]:
    x, kernel = saved
    return jax.lax.dot_general(grads, kernel, _OVER_COLUMNS), _over_rows(x, grads)


matmul.defvjp(_keeping_inputs(matmul), _matmul_backward)


def conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """Dense convolution, (B, H, W, C) with (k, k, C, D) -> (B, H', W', D).

    XLA's own where there are channels enough. With an image's three colours it would reach a tenth
    of that speed, and so becomes one matrix product with all windows side by side.
    """
    k, _, channels, features = kernel.shape
    if channels > _FEW:
        return _xla_conv(x, kernel, stride, padding)
    x = _pad(x, padding)
    size = _output_size(x, k, stride)
    rows = _side_by_side(x, _positions(k), size, stride)
    return matmul(rows, kernel.reshape(-1, features)).reshape(len(x), *size, features)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _xla_conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return xla_conv(x, kernel, stride, padding)


def _conv_backward(
    stride: int, padding: Padding, saved: tuple[Array, Array], grads: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    return (
        _dense_input_gradient(x, kernel, grads, stride, padding),
        _dense_kernel_gradient(x, grads, stride, padding, len(kernel)),
    )


_xla_conv.defvjp(_keeping_inputs(_xla_conv), _conv_backward)


def xla_conv(x: Array, kernel: Array, stride: int, padding: Padding, groups: int = 1) -> Array:
    """XLA's convolution, (B, H, W, C) with (k, k, C / groups, D) -> (B, H', W', D)."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _dense_input_gradient(
    x: Array, kernel: Array, grads: Array, stride: int, padding: Padding
) -> Array:
    """(B, H, W, C): where the kernel widens, one matrix product for all of its positions.

    XLA's own fills a stride with zeros, and is slower even where there are none to fill. Where the
    kernel narrows, the product would be wider than the gradients many times over.
    """
    k, _, channels, features = kernel.shape
    if features <= channels:
        transposed = jax.linear_transpose(lambda x: xla_conv(x, kernel, stride, padding), x)
        return transposed(grads)[0]

    def send(grads: Array) -> Callable[[int, int], Array]:
        rows = grads.reshape(-1, features)
        sent = jax.lax.dot_general(rows, kernel.reshape(-1, features), _OVER_COLUMNS)
        sent = sent.reshape(*grads.shape[:3], k, k, channels)
        return lambda i, j: sent[:, :, :, i, j]

    return _input_gradient(grads, send, k=k, stride=stride, padding=padding, shape=x.shape)


def _dense_kernel_gradient(x: Array, grads: Array, stride: int, padding: Padding, k: int) -> Array:
    """(k, k, C, D): a matrix product for each row of the kernel.

    XLA makes of it a convolution whose kernel is as large as the image, which takes up to 15 times
    as long (experiments/README.md). What is shifted is copied k times: let it be the narrower one.
    """
    channels, features = x.shape[3], grads.shape[3]
    if stride == 1 and features < channels:
        # Where x moves past the gradients one way, the gradients move past x the other way.
        (top, bottom), (left, right) = padding
        back = (k - 1 - top, k - 1 - bottom), (k - 1 - left, k - 1 - right)
        swapped = _dense_kernel_gradient(grads, x, 1, back, k)
        return swapped[::-1, ::-1].transpose(0, 1, 3, 2)
    x, size = _pad(x, padding), (grads.shape[1], grads.shape[2])
    columns = grads.reshape(-1, features)

    def of_row(i: int) -> Array:
        return _over_rows(_side_by_side(x, ((i, j) for j in range(k)), size, stride), columns)

    return jnp.stack([of_row(i) for i in range(k)]).reshape(k, k, channels, features)


def _positions(k: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(k) for j in range(k))


def _pad(x: Array, padding: Padding) -> Array:
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _window(x: Array, start: Pair, size: Pair, step: Pair) -> Array:
    """`size` rows and columns of x, from `start` on, each `step` after the one before."""
    end = [at + (count - 1) * by + 1 for at, count, by in zip(start, size, step, strict=True)]
    return jax.lax.slice(x, (0, *start, 0), (len(x), *end, x.shape[3]), (1, *step, 1))


def _side_by_side(x: Array, starts: Iterable[Pair], size: Pair, stride: int) -> Array:
    """The windows from `starts` on as one matrix: a row for each position, C columns a window."""
    windows = jnp.concatenate([_window(x, at, size, (stride, stride)) for at in starts], 3)
    return windows.reshape(-1, windows.shape[3])


def _output_size(padded: Array, k: int, stride: int) -> Pair:
    return (padded.shape[1] - k) // stride + 1, (padded.shape[2] - k) // stride + 1


def _divisor(size: int, limit: int) -> int:
    """The largest divisor of `size` up to `limit`."""
    return next(d for d in range(min(size, limit), 0, -1) if size % d == 0)
