"""Options of XLA for programs that run on a CPU."""

import functools

import jax

# The kinds of operations that XLA hands to YNNPACK.
_SUMS_BY_YNNPACK = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}


@functools.cache
def compiler_options() -> dict[str, str] | None:
    """Returns the options to compile forward passes and training steps with.

    They are None on accelerators, and for an XLA that does not know them. Since JAX 0.10.1, XLA
    hands sums, matrix products and dense convolutions to the library YNNPACK on a CPU. Its sums
    make training steps twice as fast. Dense convolutions are quicker by Eigen, which computes them
    if YNNPACK is given the sums alone. EfficientNetV2's forward pass then takes 0.82 of the time,
    and its training steps 0.92 (experiments/LOG.md).
    """
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x, compiler_options=_SUMS_BY_YNNPACK)(0.0)
    except jax.errors.JaxRuntimeError:  # An XLA without the option has no YNNPACK either.
        return None
    return _SUMS_BY_YNNPACK


def options_to_run_once() -> dict[str, int] | None:
    """Returns the options to compile a program with that runs once. None on accelerators.

    Without LLVM's optimizations, the initial values of a network compile in a third of the time.
    """
    return {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
