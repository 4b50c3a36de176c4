"""Dense convolutions and matrix products in the forms that XLA's CPU backend runs fast.

XLA's own convolution is quick on a CPU, except for images of three channels. What autodiff makes of
it is not: the gradient of a 1x1 kernel becomes a matrix product with the wide operand transposed,
and that of a 3x3 kernel a convolution with windows as large as the image. So the gradients are
written out here. experiments/bench measures what this brings.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from cifsel.models.cpu import windows
from cifsel.models.cpu.windows import Padding

Array = jax.Array

# Channels up to which a dense convolution is one matrix product: those of an image.
_FEW = 3
# Products that sum over the rows, or the columns, of both operands.
_OVER_ROWS, _OVER_COLUMNS = (((0,), (0,)), ((), ())), (((1,), (1,)), ((), ()))


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


matmul.defvjp(windows.keeping_inputs(matmul), _matmul_backward)


def dense_conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """Dense convolution, (B, H, W, C) with (k, k, C, D) -> (B, H', W', D).

    XLA's own where there are channels enough. With an image's three colours it would reach a tenth
    of that speed, and so becomes one matrix product with all windows side by side.
    """
    k, _, channels, features = kernel.shape
    if channels > _FEW:
        return _xla_conv(x, kernel, stride, padding)
    x = windows.pad(x, padding)
    size = windows.output_size(x, k, stride)
    rows = windows.side_by_side(x, windows.positions(k), size, stride)
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


_xla_conv.defvjp(windows.keeping_inputs(_xla_conv), _conv_backward)


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

    return windows.input_gradient(grads, send, k=k, stride=stride, padding=padding, shape=x.shape)


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
    x, size = windows.pad(x, padding), (grads.shape[1], grads.shape[2])
    columns = grads.reshape(-1, features)

    def of_row(i: int) -> Array:
        rows = windows.side_by_side(x, ((i, j) for j in range(k)), size, stride)
        return _over_rows(rows, columns)

    return jnp.stack([of_row(i) for i in range(k)]).reshape(k, k, channels, features)
