"""Windows of feature maps, from which the convolutions for CPUs and their gradients are made."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def keeping_inputs(operation: Callable[..., Array]) -> Callable[..., Any]:
    """The forward rule of a custom gradient that needs what `operation` was given."""

    def forward(x: Array, kernel: Array, *options: Any) -> tuple[Array, tuple[Array, Array]]:
        return operation(x, kernel, *options), (x, kernel)

    return forward


def input_gradient(
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
        pad(
            grads,
            (
                (first[0], max(0, past[0] + rows - grads.shape[1])),
                (first[1], max(0, past[1] + columns - grads.shape[2])),
            ),
        )
    )

    def phase(a: int, b: int) -> Array:
        total = jnp.zeros((batch, rows, columns, channels), grads.dtype)
        for i, j in positions(k):
            row, past_row = divmod(a + padding[0][0] - i, stride)
            column, past_column = divmod(b + padding[1][0] - j, stride)
            if past_row == past_column == 0:
                start = (first[0] + row, first[1] + column)
                total += window(sent(i, j), start, (rows, columns), (1, 1))
        return total

    phases = [jnp.stack([phase(a, b) for b in range(stride)], 3) for a in range(stride)]
    whole = jnp.stack(phases, 2).reshape(batch, rows * stride, columns * stride, channels)
    return whole[:, :height, :width]


def positions(k: int) -> Iterator[Pair]:
    """Yields the (row, column) of each element of a k x k kernel, row by row."""
    return ((i, j) for i in range(k) for j in range(k))


def pad(x: Array, padding: Padding) -> Array:
    """Puts zeros before and after the rows and the columns of (B, H, W, C)."""
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def window(x: Array, start: Pair, size: Pair, step: Pair) -> Array:
    """`size` rows and columns of x, from `start` on, each `step` after the one before."""
    end = [at + (count - 1) * by + 1 for at, count, by in zip(start, size, step, strict=True)]
    return jax.lax.slice(x, (0, *start, 0), (len(x), *end, x.shape[3]), (1, *step, 1))


def side_by_side(x: Array, starts: Iterable[Pair], size: Pair, stride: int) -> Array:
    """The windows from `starts` on as one matrix: a row for each position, C columns a window."""
    windows = jnp.concatenate([window(x, at, size, (stride, stride)) for at in starts], 3)
    return windows.reshape(-1, windows.shape[3])


def output_size(padded: Array, k: int, stride: int) -> Pair:
    """Rows and columns of the result of a k x k convolution of a padded (B, H, W, C)."""
    return (padded.shape[1] - k) // stride + 1, (padded.shape[2] - k) // stride + 1
