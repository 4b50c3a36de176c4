"""With which software, on which devices and by which command a result was made."""

import contextlib
import dataclasses
import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from cifsel.runtime import threads, typed
from cifsel.runtime.terminal import count

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorflow-datasets",
    "clu",
)


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that JAX computes on.

    Attributes:
      backend: 'cpu', 'gpu' or 'tpu'.
      kind: the model of the first device.
      count: the number of devices of all processes.
      processor: the name of the host's CPU, with 'AVX-512' if it has that.
      cores: the number of its cores that this process may use.
    """

    backend: str
    kind: str
    count: int
    processor: str
    cores: int

    @property
    def words(self) -> str:
        """The devices and their host in a few words."""
        return f"{self.count} x {self.kind} on {self.processor}, {count(self.cores, 'core')}"


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a result comes from.

    Attributes:
      versions: of Python and of `PACKAGES`, by name. None for a package that is not installed.
      devices: the devices of this process.
      command: the command line, such as 'python -m cifsel.main --config=...'.
      git_commit: the commit of this checkout, with '-dirty' if files differ from it. None outside
        of a checkout.
      finished: the time at which this was asked for: UTC, ISO 8601, to the second.
    """

    versions: dict[str, str | None]
    devices: Devices
    command: str
    git_commit: str | None
    finished: str

    def to_json(self) -> dict[str, Any]:
        """The same as plain dicts, in the order of the fields."""
        return dataclasses.asdict(self)


def environment() -> Provenance:
    """The provenance of a result that this process has just computed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = None  # A lean machine trains without tfds and clu's TensorFlow.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    devices = jax.devices()
    return Provenance(
        versions=versions,
        devices=Devices(
            backend=jax.default_backend(),
            kind=devices[0].device_kind,
            count=len(devices),
            processor=processor(),
            cores=threads.cores(),
        ),
        command=typed.command(),
        git_commit=_git_commit(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def processor() -> str:
    """The name of the CPU, or its architecture where the system does not tell the name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {
        line.split(":")[0].strip(): line.split(":")[1].strip() for line in lines if ":" in line
    }
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name}, AVX-512" if "avx512f" in fields.get("flags", "").split() else name


def _git_commit() -> str | None:
    """The commit of the checkout that this file is in, marked if files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    command += ["--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
