"""The published rates of TPU chips, and lower bounds of a program's time."""

import dataclasses
import re

from cifsel.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of chip.

    Attributes:
      name: name in a topology, such as 'v5e'.
      flops: bfloat16 operations per second.
      memory_bytes: size of its high-bandwidth memory.
      memory_rate: bytes per second of that memory.
      network_rate: bytes per second in one direction, over all links to other chips.
    """

    name: str
    flops: float
    memory_bytes: float
    memory_rate: float
    network_rate: float


# https://cloud.google.com/tpu/docs/v5e, v6e and v5p, November 2026. That page gives the network's
# rate for both directions together.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", 197e12, 16e9, 819e9, 200e9),
        Chip("v6e", 918e12, 32e9, 1638e9, 400e9),
        Chip("v5p", 459e12, 95e9, 2765e9, 600e9),
    )
}


def parse(topology: str) -> Chip:
    """Returns the chip of a topology such as 'v5e:2x4'.

    Raises:
      UserError: it is not a topology, or its chip is not in CHIPS.
    """
    # A zero is refused, because libtpu ends the process when it is given one.
    match = re.fullmatch(rf"({'|'.join(CHIPS)}):[1-9]\d*x[1-9]\d*(x[1-9]\d*)?", topology)
    if not match:
        raise UserError(
            f"--topology is {topology!r}; expected one of {', '.join(CHIPS)} and the chips along"
            " each side of the slice, such as v5e:2x4 or v5p:2x2x1"
        )
    return CHIPS[match[1]]


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Lower bounds in seconds of a step's time on each chip, by resource."""

    arithmetic: float
    memory: float
    network: float

    @property
    def seconds(self) -> float:
        """The largest of the three. It is the bound if the resources work at the same time."""
        return max(dataclasses.astuple(self))

    @property
    def limit(self) -> str:
        """Name of the resource with the largest bound."""
        return max(dataclasses.asdict(self).items(), key=lambda item: item[1])[0]


def bounds(chip: Chip, devices: int, flops: float, moved: float, reduced: float) -> Bounds:
    """Computes a roofline.

    Args:
      chip: the kind of every device.
      devices: number of devices that work together.
      flops: floating-point operations of one device.
      moved: bytes that one device reads and writes in its memory.
      reduced: bytes that are summed over all devices.
    """
    # Summing in a ring sends every byte twice, except for the share that a device keeps.
    sent = 2 * reduced * (devices - 1) / devices
    return Bounds(flops / chip.flops, moved / chip.memory_rate, sent / chip.network_rate)
