"""libtpu, the compiler of TPUs, on a machine without a TPU."""

import os

# libtpu reads these when it loads. Without them it looks for the machine's own TPU, and complains
# on standard error.
_WITHOUT_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def expect_no_tpu() -> None:
    """Tells libtpu not to look for a TPU."""
    for name, value in _WITHOUT_TPU.items():
        os.environ.setdefault(name, value)


def quiet() -> None:
    """Keeps libtpu from complaining where there is no TPU. Call it before JAX looks for devices."""
    import jax  # noqa: F401 - it sets the variable below where it sees no TPU

    if os.environ.get("TPU_SKIP_MDS_QUERY"):
        expect_no_tpu()
