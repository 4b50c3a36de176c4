"""Many devices, of one machine or of many: every batch is split between them, all else is on each.

The same program runs in every process. Parameters, optimiser and results are replicated; a batch
lies along the one axis of a mesh over all devices of all processes, and XLA puts in the sums that
gradients and batch norm need. What a run computes does not depend on how many devices there are,
but for the rounding of sums. With one device nothing of this costs anything.
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

from cifsel.errors import UserError
from cifsel.runtime.processes import together

Tree = Any
AXIS = "data"
# How long a process waits for the others to start, in seconds.
START_TIMEOUT = 300


@contextlib.contextmanager
def connected(
    distributed: str, processes: int, process: int, timeout: int = START_TIMEOUT
) -> Iterator[None]:
    """Connects the processes of a run. Enter before anything else asks JAX for its devices.

    Args:
      distributed: 'off' for a single process, 'auto' where Cloud TPU, GKE or Slurm say who is part
        of the run, or the host:port of process 0, which needs the port above it as well.
      processes: how many there are, for host:port.
      process: which one this is, from 0, for host:port.
      timeout: seconds to wait for the others.

    Raises:
      UserError: nobody says who is part of the run, or somebody is missing.
    """
    if distributed == "off":
        yield
        return
    local = None
    if distributed == "auto":
        address, processes, process, local = _taking_part(timeout)
        host, _, port = address.rpartition(":")
        # Far from it, since Slurm's ports are neighbours where jobs are.
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
    """What Cloud TPU, GKE or Slurm say: JAX's address, the number of processes, this one, devices.

    JAX would ask them by itself, but only to wait alone then, and to abort where somebody is
    missing, without a word about who.
    """
    from jax._src.clusters import ClusterEnv  # There is no public way to ask.

    try:
        found = ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, timeout
        )
    except (RuntimeError, ValueError, OSError) as error:
        found, why = (None, None, None, None), f" ({' '.join(str(error).split())[:300]})"
    else:
        why = ""
    address, processes, process, local = found
    if address is None or processes is None or process is None:
        raise UserError(
            f"config.distributed is 'auto', but nothing here says which processes take part{why}:"
            " give host:port of process 0, with config.processes and config.process, or 'off'"
        )
    return address, processes, process, local


@contextlib.contextmanager
def _sigterm_untouched() -> Iterator[None]:
    """Takes SIGTERM back from JAX, which catches it for a service that nobody here asks.

    That service finds a step at which all processes stop; they agree on one anyway (`largest`), and
    a process that does not train yet would never end.
    """
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _greet() -> None:
    """One sum over all devices, while all processes are at the same place.

    Gloo, through which CPUs talk, connects devices when they first have something to add up, and
    waits half a minute for each process. Later, one may compile for that much longer than another.
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
    """Arrays, the same in all processes, replicated. What is so already is not copied."""
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


def divide(array: np.ndarray, axis: int) -> jax.Array:
    """An array of the host, the same in all processes, in equal parts along an axis.

    Each process puts only the parts of its own devices there.
    """
    return _divided(array.shape, axis, lambda part: array[part])


def rows(array: np.ndarray, positions: np.ndarray, axis: int) -> jax.Array:
    """`divide` of array[positions], along an axis of the positions.

    Each process picks only the rows of its own devices.
    """

    def picked(part: tuple[slice, ...] | None) -> np.ndarray:
        return array[positions[(part or ())[: positions.ndim]]]

    shape = (*positions.shape, *array.shape[1:])
    return _divided(shape, axis, picked)


def _divided(shape: tuple[int, ...], axis: int, part: Callable[[Any], np.ndarray]) -> jax.Array:
    """An array of the parts that `part` makes; on a CPU, it is there on return.

    JAX leaves a program whose inputs are still on their way to another thread, whose heap has no
    room for what the program needs: see `memory.keep_freed`.
    """
    array = jax.make_array_from_callback(shape, split(axis), part)
    return jax.block_until_ready(array) if jax.default_backend() == "cpu" else array


def fetch(array: jax.Array) -> np.ndarray:
    """The whole array, however it is divided; all processes must ask."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def divisible(batch_size: int, parts: int = 1, devices: int | None = None) -> int:
    """The least multiple of the number of devices, times `parts`, that is no less.

    Args:
      batch_size: what is asked for.
      parts: into which each device divides its share.
      devices: None for those that are there.
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
    """Whether this process speaks and writes for all."""
    return jax.process_index() == 0


def largest(number: int) -> int:
    """The largest of what the processes say; all must ask."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def on_main(compute: Callable[[], bool]) -> bool:
    """What the first process finds; the others, which may see it later or otherwise, follow."""
    return bool(largest(int(is_main() and compute())))
