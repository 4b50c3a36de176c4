"""Asks the TPU compiler for a program's memory, arithmetic, traffic and largest temporaries."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from cifsel.errors import UserError, one_line
from cifsel.preflight.programs import Program
from cifsel.runtime import cache, libtpu

# Version of the kept analyses. Raise it when their fields change their meaning.
_FORMAT = 1
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_KEPT = 5  # number of temporaries to list


@dataclasses.dataclass(frozen=True)
class Temporary:
    """An intermediate result in a chip's main memory.

    Attributes:
      shape: of one chip's part, as XLA writes it.
      bytes: size, including the padding of its layout.
      padding: `bytes` as a multiple of the size of its elements.
      layer: the layer that computes it.
    """

    shape: str
    bytes: int
    padding: float
    layer: str


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The compiler's analysis of a program. All numbers are of one chip and one step.

    Attributes:
      arguments: bytes of the arguments, and of the outputs that replace them in memory.
      outputs: bytes of the other outputs.
      temporaries: bytes of intermediate results.
      code: bytes of the program itself.
      flops: floating-point operations.
      moved: bytes read and written.
      reduced: bytes that are summed over all chips. None if jaxlib cannot read the program.
      largest: the largest temporaries, in descending order. Empty if jaxlib cannot read the
        program.
      seconds: time that compiling took.
      optimal_seconds: the compiler's own estimate of a step's time.
    """

    arguments: int
    outputs: int
    temporaries: int
    code: int
    flops: float
    moved: float
    reduced: float | None
    largest: tuple[Temporary, ...]
    seconds: float
    optimal_seconds: float

    @property
    def total(self) -> int:
        """Bytes of arguments, outputs, temporaries and code together."""
        return self.arguments + self.outputs + self.temporaries + self.code


@dataclasses.dataclass(frozen=True)
class TooLarge:
    """The program does not fit into a chip's memory.

    Attributes:
      needed: bytes that the program needs.
      available: bytes that the chip has.
    """

    needed: float
    available: float


def devices(topology: str) -> Sequence[jax.Device]:
    """Makes the devices of a topology. None of them needs to exist.

    Raises:
      UserError: libtpu is not installed, or knows no such topology.
    """
    libtpu.expect_no_tpu()
    sides = [int(side) for side in topology.partition(":")[2].split("x")]
    # Most machines have 2 x 2 chips. A slice of one chip is a part of such a machine.
    per_host = [*(min(side, 2) for side in sides[:2]), 1]
    try:
        description = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, chips_per_host_bounds=per_host
        )
    except RuntimeError as error:  # JAX raises the same class for every reason.
        if "not installed" in str(error):
            raise UserError(
                "the TPU compiler, libtpu, is not installed: pip install 'cifsel[tpu-aot]'"
            ) from None
        raise UserError(
            f"--topology is {topology!r}, which libtpu refuses ({one_line(error)})"
        ) from None
    return description.devices


def analyse(program: Program, topology: str) -> Compiled | TooLarge:
    """Compiles a program for a topology, unless an earlier analysis of the same one is kept."""
    lowered = program.function.lower(*program.arguments)
    versions = [jax.__version__, importlib.metadata.version("libtpu")]
    identity = json.dumps([_FORMAT, topology, versions, program.parts, lowered.as_text()])
    file = cache.folder() / "preflight" / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _from_json(json.loads(file.read_text()))
    analysis = _compile(lowered, program.parts)
    _keep(file, analysis)
    return analysis


def _compile(lowered: Any, parts: int) -> Compiled | TooLarge:
    began = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        sizes = [float(size) * 2**30 for size in re.findall(r"([\d.]+)G\b", str(error))]
        if "RESOURCE_EXHAUSTED" in str(error) and len(sizes) >= 2:
            return TooLarge(sizes[0], sizes[1])
        raise
    seconds = time.perf_counter() - began
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    try:
        text = compiled.as_text()
    except jax.errors.JaxRuntimeError:  # libtpu and jaxlib are of different versions.
        text = ""
    return Compiled(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        # XLA counts the body of a loop once. That is right for the loop over steps, but the loop
        # over the parts of a batch runs `parts` times a step.
        flops=cost["flops"] * parts,
        moved=cost["bytes accessed"] * parts,
        reduced=reduced(text) if text else None,
        largest=largest_temporaries(text),
        seconds=seconds,
        optimal_seconds=cost.get("optimal_seconds", -1.0),
    )


def _keep(file: Path, analysis: Compiled | TooLarge) -> None:
    with contextlib.suppress(OSError):  # Without it, the next call compiles again.
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(dataclasses.asdict(analysis)))
        temporary.replace(file)


def _from_json(content: dict[str, Any]) -> Compiled | TooLarge:
    if "needed" in content:
        return TooLarge(**content)
    largest = tuple(Temporary(**each) for each in content.pop("largest"))
    return Compiled(**content, largest=largest)


# --- the compiled program's text -----------------------------------------------------------------

_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%\S+ = (.*?) ([\w-]+)\(")
# These operations compute nothing, they only pass on results.
_NO_RESULT = {"parameter", "tuple", "get-tuple-element", "bitcast", "while", "conditional"}


def _instructions(text: str) -> Iterator[tuple[str, str, str]]:
    """Yields result types, operation and line of each instruction outside of fusions."""
    fused = set(re.findall(r"calls=%([\w.-]+)", text))
    inside = False
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")):
            inside = line.removeprefix("ENTRY ").lstrip("%").split(" ", 1)[0] in fused
        match = _INSTRUCTION.match(line)
        if match and not inside:
            yield match[1], match[2], line


def largest_temporaries(text: str) -> tuple[Temporary, ...]:
    """Finds the largest results in a compiled program's text, one for each shape and layer."""
    temporaries: dict[tuple[str, str], Temporary] = {}
    for types, operation, line in _instructions(text):
        # The result of an asynchronous operation is that of its "-done" instruction.
        if operation in _NO_RESULT or operation.endswith("-start"):
            continue
        for kind, sizes, layout in _ARRAY.findall(types):
            if kind not in _BYTES or "S(" in layout:  # S() is not the main memory.
                continue
            shape = [int(size) for size in sizes.split(",") if size]
            size = padded_size(shape, layout) * _BYTES[kind]
            exact = math.prod(shape) * _BYTES[kind]
            layer, name = _layer(line, operation), f"{kind}[{sizes}]"
            temporaries[name, layer] = Temporary(name, size, size / max(exact, 1), layer)
    return tuple(sorted(temporaries.values(), key=lambda temporary: -temporary.bytes)[:_KEPT])


def padded_size(shape: Sequence[int], layout: str) -> int:
    """Counts the elements of an array, with padding, in a layout like '3,0,2,1:T(8,128)(2,1)'."""
    order, _, tiles = layout.partition(":")
    tile = re.match(r"T\(([\d,]+)\)", tiles)
    if not tile or not shape:
        return math.prod(shape)
    sizes = [shape[int(axis)] for axis in order.split(",")]  # The fastest axis comes first.
    steps = [int(size) for size in tile[1].split(",")][::-1]
    for place, step in enumerate(steps[: len(sizes)]):
        sizes[place] = -(-sizes[place] // step) * step
    return math.prod(sizes)


def _layer(line: str, operation: str) -> str:
    """Names the layer of an instruction, by JAX's name for it, else its operation."""
    name = re.search(r'op_name="([^"]*)"', line)
    if not name:
        return operation
    where = re.search(r"(?:backbone|head)/\w+", name[1])
    gradient = "gradient of " if "transpose(" in name[1] else ""
    return f"{gradient}{where[0] if where else name[1].rpartition('/')[2]}"


def reduced(text: str) -> float:
    """Counts the bytes that a program sums over all chips."""
    total = 0
    for types, operation, _ in _instructions(text):
        if operation in ("all-reduce", "all-reduce-start"):
            for kind, sizes, _ in _ARRAY.findall(types):
                shape = [int(size) for size in sizes.split(",") if size]
                total += math.prod(shape) * _BYTES.get(kind, 4)
    return float(total)
