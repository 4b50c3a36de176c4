"""Many devices, of one machine or of several: each batch is split, everything else is replicated.

The same program runs in every process. All devices of all processes form a mesh with one axis.
Batches are divided along it, and XLA adds the sums that gradients and batch norm need. Results do
not depend on the number of devices, except for the rounding of sums. With one device this costs
nothing.
"""

import contextlib
import functools
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cifsel.errors import UserError, one_line
from cifsel.runtime.processes import together

Tree = Any
AXIS = "data"
START_TIMEOUT = 300  # seconds to wait until all processes have started


@contextlib.contextmanager
def connected(
    distributed: str, processes: int, process: int, timeout: int = START_TIMEOUT
) -> Iterator[None]:
    """Connects the processes of a run. Enter before anything else asks JAX for its devices.

    Args:
      distributed: 'off' for a single process, 'auto' for the processes that Cloud TPU, GKE or Slurm
        have started, or the host:port of process 0. The next higher port is used, too.
      processes: the number of processes, for host:port.
      process: the number of this process, from 0, for host:port.
      timeout: seconds to wait for the others.

    Raises:
      UserError: 'auto' finds no processes, or some processes are missing.
    """
    if distributed == "off":
        yield
        return
    local = None
    if distributed == "auto":
        address, processes, process, local = _taking_part(timeout)
        host, _, port = address.rpartition(":")
        # Far from JAX's port: jobs of Slurm with neighbouring numbers have neighbouring ports.
        meeting = int(port) ^ 0x8000
    else:
        host, _, port = distributed.rpartition(":")
        meeting, address = int(port), f"{host}:{int(port) + 1}"
    with together(host, meeting, processes, process, timeout):
        with _sigterm_untouched():
            jax.distributed.initialize(
                address, processes, process, local, initialization_timeout=timeout
            )
        _greet()
        yield


def _taking_part(timeout: int) -> tuple[str, int, int, Sequence[int] | None]:
    """Asks Cloud TPU, GKE or Slurm for the processes of this run.

    JAX would ask them by itself, but then abort when a process is missing (see `processes`).

    Returns:
      The address of process 0 for JAX, the number of processes, the number of this process, and its
      local devices, None for all.
    """
    from jax._src.clusters import ClusterEnv  # There is no public way to ask.

    try:
        address, processes, process, local = ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, timeout
        )
    except (RuntimeError, ValueError, OSError) as error:
        address, processes, process, local, why = None, None, None, None, f" ({one_line(error)})"
    else:
        why = ""
    if address is None or processes is None or process is None:
        raise UserError(
            f"config.distributed is 'auto', but nothing here says which processes take part{why}:"
            " give host:port of process 0, with config.processes and config.process, or 'off'"
        )
    return address, processes, process, local


@contextlib.contextmanager
def _sigterm_untouched() -> Iterator[None]:
    """Takes SIGTERM back from JAX, which catches it for its preemption service.

    That service finds a step at which all processes stop. They agree on one by `largest` instead.
    With JAX's handler, a process that does not train yet would never end.
    """
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _greet() -> None:
    """Adds up one number per device, while all processes are at the same place.

    Gloo, which connects CPUs, does so at the first sum, and waits half a minute for each process.
    Later on, one process may compile for that much longer than another.
    """
    ones = divide(np.ones(jax.device_count(), np.float32), 0)
    jax.block_until_ready(jax.jit(jnp.sum, out_shardings=replicated())(ones))


@functools.cache
def mesh() -> Mesh:
    """All devices of all processes in a row."""
    return in_a_row(jax.devices())


def in_a_row(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh with one axis, along which batches are divided."""
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated() -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh(), PartitionSpec())


def split(axis: int) -> NamedSharding:
    """Equal parts along an axis."""
    return NamedSharding(mesh(), PartitionSpec(*[None] * axis, AXIS))


def everywhere(tree: Tree) -> Tree:
    """Replicates arrays that are the same in all processes. Replicated ones are not copied."""
    if jax.process_count() == 1:
        return jax.device_put(tree, replicated())
    return jax.tree.map(_put, tree)


def _put(x: Any) -> jax.Array:
    """`everywhere` of one array: device_put does not reach other processes' devices."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(x)))
    array = np.asarray(x)
    return jax.make_array_from_callback(array.shape, replicated(), lambda part: array[part])


def copied(tree: Tree) -> Tree:
    """Copies arrays, so that the originals can be donated."""
    if jax.process_count() == 1:
        # `jnp.array` would compile a program for each shape.
        return jax.block_until_ready(jax.device_put(tree, may_alias=False))
    return jax.tree.map(jnp.array, tree)


def divide(array: np.ndarray, axis: int) -> jax.Array:
    """An array of the host, the same in all processes, in equal parts along an axis.

    Each process puts only the parts of its own devices there.
    """
    return _divided(array.shape, axis, lambda part: array[part])


def rows(array: Any, positions: np.ndarray, axis: int) -> jax.Array:
    """`divide` of array[positions], along an axis of the positions.

    The array is NumPy's, or another that is indexed in the same way. Each process picks only the
    rows of its own devices.
    """

    def picked(part: tuple[slice, ...] | None) -> np.ndarray:
        return array[positions[(part or ())[: positions.ndim]]]

    shape = (*positions.shape, *array.shape[1:])
    return _divided(shape, axis, picked)


def _divided(shape: tuple[int, ...], axis: int, part: Callable[[Any], np.ndarray]) -> jax.Array:
    """An array of the parts that `part` makes. On a CPU, the copy is complete on return.

    JAX runs a program whose inputs are still being copied on another thread. That thread's heap has
    no room for the program's blocks, see `memory.keep_freed`.
    """
    array = jax.make_array_from_callback(shape, split(axis), part)
    return jax.block_until_ready(array) if jax.default_backend() == "cpu" else array


def fetch(array: jax.Array | np.ndarray) -> np.ndarray:
    """The whole array, however it is divided. All processes must call this."""
    if isinstance(array, np.ndarray):
        return array
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def divisible(batch_size: int, parts: int = 1, devices: int | None = None) -> int:
    """Rounds a batch size up, until all devices get equal shares that can be cut in equal parts.

    Args:
      batch_size: the least size.
      parts: the number of parts of each device's share.
      devices: the number of devices. None for JAX's.
    """
    unit = (devices or jax.device_count()) * parts
    return -(-batch_size // unit) * unit


def check_batch(batch_size: int, parts: int, devices: int | None = None) -> None:
    """Raises UserError for a batch that the devices cannot share equally, in so many parts each."""
    devices = devices or jax.device_count()
    fits = divisible(batch_size, parts, devices)
    if batch_size != fits:
        raise UserError(
            f"config.batch_size is {batch_size}; expected a multiple of {devices * parts}, for"
            f" {devices} devices and config.accum_steps of {parts}: give {fits}"
        )


def is_main() -> bool:
    """Whether this process prints and writes for all."""
    return jax.process_index() == 0


def largest(number: int) -> int:
    """The largest number that a process gives. All processes must call this."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def on_main(compute: Callable[[], bool]) -> bool:
    """The answer of the first process, for all. Others might see a file later, for example."""
    return bool(largest(int(is_main() and compute())))
