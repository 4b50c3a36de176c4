"""Windows of feature maps. The convolutions for CPUs and their gradients are made of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def keeping_inputs(operation: Callable[..., Array]) -> Callable[..., Any]:
    """Makes the forward rule of a custom gradient that needs the inputs of `operation`."""

    def forward(x: Array, kernel: Array, *options: Any) -> tuple[Array, tuple[Array, Array]]:
        return operation(x, kernel, *options), (x, kernel)

    return forward


def input_gradient(
    grads: Float[Array, "b h w d"],
    send: Callable[[Array], Callable[[int, int], Array]],
    *,
    k: int,
    stride: int,
    padding: Padding,
    shape: tuple[int, ...],
) -> Float[Array, "b H W c"]:
    """Computes the gradient of a convolution's input: each pixel gathers from its outputs.

    Pixels of one phase (row and column modulo the stride) gather from the same kernel positions.
    Each phase is then a sum of plain windows, and no zeros are put between the gradients.

    Args:
      grads: gradients of the outputs.
      send: a function of gradients of outputs (B, h, w, D). It returns a function of a kernel's row
        and column: the share of the gradients that goes back through it, (B, h, w, C).
      k: side of the kernel.
      stride: of the convolution.
      padding: of the convolution.
      shape: (B, H, W, C) of the input.
    """
    batch, height, width, channels = shape
    rows, columns = -(-height // stride), -(-width // stride)
    # A pixel went to outputs before and after its own place. Beyond the edge these are zeros.
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


def pad(x: Float[Array, "b h w c"], padding: Padding) -> Float[Array, "b H W c"]:
    """Puts zeros before and after the rows and the columns."""
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def window(
    x: Float[Array, "b h w c"], start: Pair, size: Pair, step: Pair
) -> Float[Array, "b H W c"]:
    """Takes `size` rows and columns from `start` on, each `step` after the one before."""
    end = [at + (count - 1) * by + 1 for at, count, by in zip(start, size, step, strict=True)]
    return jax.lax.slice(x, (0, *start, 0), (x.shape[0], *end, x.shape[3]), (1, *step, 1))


def side_by_side(
    x: Float[Array, "b h w c"], starts: Iterable[Pair], size: Pair, stride: int
) -> Float[Array, "rows columns"]:
    """Makes one matrix of the windows from `starts` on.

    It has a row for each position of the batch, and C columns for each window.
    """
    windows = jnp.concatenate([window(x, at, size, (stride, stride)) for at in starts], 3)
    return windows.reshape(-1, windows.shape[3])


def output_size(padded: Float[Array, "b h w c"], k: int, stride: int) -> Pair:
    """Returns rows and columns of the result of a k x k convolution of a padded input."""
    return (padded.shape[1] - k) // stride + 1, (padded.shape[2] - k) // stride + 1
