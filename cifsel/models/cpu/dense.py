"""Dense convolutions and matrix products in the forms that XLA's CPU backend runs fast.

XLA's own convolution is quick on a CPU, except for images of three channels. Its gradients by
autodiff are slow. The gradient of a 1x1 kernel becomes a matrix product with the wide operand
transposed. That of a 3x3 kernel becomes a convolution with windows as large as the image. So the
gradients are written out here. experiments/bench measures what this brings.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cifsel.models.cpu import windows
from cifsel.models.cpu.tracing import traced_once
from cifsel.models.cpu.windows import Padding

# Channels up to which a dense convolution is one matrix product: those of an image.
_FEW = 3
# Products that sum over the rows, or the columns, of both operands.
_OVER_ROWS, _OVER_COLUMNS = (((0,), (0,)), ((), ())), (((1,), (1,)), ((), ()))


def _over_rows(a: Float[Array, "n c"], b: Float[Array, "n d"]) -> Float[Array, "c d"]:
    """Computes a.T @ b. XLA transposes the left operand on the way, so that is the narrow one."""
    if a.shape[1] <= b.shape[1]:
        return jax.lax.dot_general(a, b, _OVER_ROWS)
    # The barrier keeps XLA from exchanging them again.
    return jax.lax.optimization_barrier(jax.lax.dot_general(b, a, _OVER_ROWS)).T


@jax.custom_vjp
def matmul(x: Float[Array, "n c"], kernel: Float[Array, "c d"]) -> Float[Array, "n d"]:
    """Computes x @ kernel, with gradients in the form for CPUs."""
    return jnp.dot(x, kernel)


@traced_once()
def _matmul_backward(
    saved: tuple[Array, Array], grads: Float[Array, "n d"]
) -> tuple[Float[Array, "n c"], Float[Array, "c d"]]:
    x, kernel = saved
    return jax.lax.dot_general(grads, kernel, _OVER_COLUMNS), _over_rows(x, grads)


matmul.defvjp(windows.keeping_inputs(matmul), _matmul_backward)


def dense_conv(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c d"], stride: int, padding: Padding
) -> Float[Array, "b H W d"]:
    """Computes a dense convolution.

    With more than three channels it is XLA's own. With an image's three colours XLA reaches a tenth
    of that speed. It is then one matrix product with all windows side by side.
    """
    k, _, channels, features = kernel.shape
    if channels > _FEW:
        return _xla_conv(x, kernel, stride, padding)
    x = windows.pad(x, padding)
    size = windows.output_size(x, k, stride)
    rows = windows.side_by_side(x, windows.positions(k), size, stride)
    return matmul(rows, kernel.reshape(-1, features)).reshape(x.shape[0], *size, features)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _xla_conv(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c d"], stride: int, padding: Padding
) -> Float[Array, "b H W d"]:
    return xla_conv(x, kernel, stride, padding)


@traced_once(0, 1)
def _conv_backward(
    stride: int, padding: Padding, saved: tuple[Array, Array], grads: Float[Array, "b H W d"]
) -> tuple[Float[Array, "b h w c"], Float[Array, "k k c d"]]:
    x, kernel = saved
    return (
        _dense_input_gradient(x, kernel, grads, stride, padding),
        _dense_kernel_gradient(x, grads, stride, padding, len(kernel)),
    )


_xla_conv.defvjp(windows.keeping_inputs(_xla_conv), _conv_backward)


def xla_conv(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k c//{groups} d"],
    stride: int,
    padding: Padding,
    groups: int = 1,
) -> Float[Array, "b H W d"]:
    """Computes a convolution by XLA's own operation."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _dense_input_gradient(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k c d"],
    grads: Float[Array, "b H W d"],
    stride: int,
    padding: Padding,
) -> Float[Array, "b h w c"]:
    """Computes the gradient of a dense convolution's input.

    If the kernel widens (D > C), it is one matrix product for all positions of the kernel. XLA's
    own gradient fills a stride with zeros, and is slower even without a stride. If the kernel
    narrows, the product would be many times wider than the gradients, and XLA's own is used.
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


def _dense_kernel_gradient(
    x: Float[Array, "b h w c"],
    grads: Float[Array, "b H W d"],
    stride: int,
    padding: Padding,
    k: int,
) -> Float[Array, "{k} {k} c d"]:
    """Computes the gradient of a dense convolution's kernel, as a matrix product for each row.

    XLA's own is a convolution with a kernel as large as the image. It takes up to 15 times as long
    (experiments/LOG.md). The operand that is shifted is copied k times, so that is the narrower
    one.
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
