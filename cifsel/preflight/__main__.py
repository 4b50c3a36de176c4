"""Says, before a TPU is rented, whether a run fits, what limits it, and how long it takes.

    python -m cifsel.preflight --config=configs/effnet.py --topology=v5e:2x4
    python -m cifsel.preflight --config=configs/effnet.py:probe --config.image_size=224

It takes --config as training does, and compiles the programs of that run for a TPU slice, which
need not be there. Then it says whether they fit, and how fast they can be at best.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
from absl import app, flags
from ml_collections import ConfigDict
from rich.table import Table

from cifsel import build
from cifsel.config import flag
from cifsel.config.validation import validate
from cifsel.errors import UserError
from cifsel.preflight import chips, compiler, programs
from cifsel.runtime import bars, command, sharding
from cifsel.runtime.terminal import duration, say

_TOPOLOGY = flags.DEFINE_string(
    "topology", "v5e:2x4", "The slice: a kind of chip, and how many there are along each side."
)
# Share of a chip's memory that is left for buffers outside of programs, and as a margin.
_SPARE = 0.2
# A batch is large enough when two things hold. The training state is at most this share of the
# memory that a step reads and writes. The batch fills the eight rows of a chip's vector registers.
_STATE_SHARE, _LEAST_IMAGES = 0.1, 8


@dataclasses.dataclass(frozen=True)
class Row:
    """A program with the compiler's analysis of it. There are no bounds if it does not fit."""

    program: programs.Program
    analysis: compiler.Compiled | compiler.TooLarge
    bounds: chips.Bounds | None


def examine(config: ConfigDict, topology: str) -> list[Row]:
    """Compiles the programs that a config's run calls on a slice.

    Raises:
      UserError: the slice or the config cannot be used.
    """
    chip, mesh = chips.parse(topology), sharding.in_a_row(compiler.devices(topology))
    if config.task != "task1":
        raise UserError(f"config.task is {config.task!r}; expected 'task1', which trains on TPUs")
    if config.method == "finetune":
        sharding.check_batch(config.batch_size, config.accum_steps, mesh.size)
    rows = []
    for program in programs.of_run(config, mesh):
        with bars.waiting(f"compiling {program.name} for {topology}"):
            analysis = compiler.analyse(program, topology)
        bounds = None
        if isinstance(analysis, compiler.Compiled):
            reduced = analysis.reduced or 0.0
            bounds = chips.bounds(chip, mesh.size, analysis.flops, analysis.moved, reduced)
        rows.append(Row(program, analysis, bounds))
    return rows


def show(config: ConfigDict, topology: str, rows: Sequence[Row]) -> None:
    """Prints the analyses."""
    chip, count = chips.parse(topology), math.prod(map(int, topology.split(":")[1].split("x")))
    say(
        f"{count} x {chip.name} with {chip.memory_bytes / 1e9:.0f} GB each:"
        f" {config.model}, {config.image_size} px, gradient steps at {build.train_size(config)} px"
    )
    table = Table(title="of one chip and step", title_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(row.program.name, justify="right")
    columns = [_column(row, count, chip) for row in rows]
    for name in max(columns, key=len):
        table.add_row(name, *(column.get(name, "") for column in columns))
    bars.show(table)
    for row in rows:
        if isinstance(row.analysis, compiler.Compiled) and row.program.name == "training":
            if not row.analysis.largest:
                say("the largest temporaries are not known: jax and libtpu are not of a kind")
                continue
            say("largest temporaries of training:")
            for buffer in row.analysis.largest:
                padding = buffer.padding
                padded = f" ({padding:.1f} x with padding)" if padding >= 1.05 else ""
                say(f"  {_bytes(buffer.bytes):>8}{padded}  {buffer.shape}  {buffer.layer}")
    for line in advice(config, count, chip, rows):
        say(line)


def _column(row: Row, count: int, chip: chips.Chip) -> dict[str, str]:
    program, analysis, bounds = row.program, row.analysis, row.bounds
    about = {"images, of which per chip": f"{program.images:,}, {program.images // count:,}"}
    if isinstance(analysis, compiler.TooLarge) or bounds is None:
        return about | {"memory together": "too much"}
    return about | {
        "arguments": _bytes(analysis.arguments),
        "outputs": _bytes(analysis.outputs),
        "temporaries": _bytes(analysis.temporaries),
        "program": _bytes(analysis.code),
        "memory together": f"{_bytes(analysis.total)}, {analysis.total / chip.memory_bytes:.1%}",
        "arithmetic": f"{analysis.flops / 1e9:,.1f} GFLOP",
        "memory read and written": _bytes(analysis.moved),
        "summed over chips": "not known" if analysis.reduced is None else _bytes(analysis.reduced),
        "least time: arithmetic": _milliseconds(bounds.arithmetic),
        "memory": _milliseconds(bounds.memory),
        "network": _milliseconds(bounds.network),
        "limited by": bounds.limit,
        "compiler's own estimate": _milliseconds(analysis.optimal_seconds)
        if analysis.optimal_seconds > 0
        else "none",
        "images/s, at best": f"{program.images / bounds.seconds:,.0f}",
        "steps of a run": f"{program.runs:,}",
        "time of a run, at least": _time(program.runs * bounds.seconds),
    }


def advice(config: ConfigDict, count: int, chip: chips.Chip, rows: Sequence[Row]) -> list[str]:
    """Says whether the run fits, which batch suits the slice, and how long the run takes."""
    lines = []
    for row in rows:
        if isinstance(row.analysis, compiler.TooLarge):
            lines.append(_too_large(config, count, row.program, row.analysis))
        elif row.program.name == "training":
            lines.append(_suggested(row.program, row.analysis, count, chip))
    if all(row.bounds for row in rows):
        total = sum(row.program.runs * row.bounds.seconds for row in rows if row.bounds)
        lines.append(
            f"all fits; the run takes {_time(total)} at least, by the chips' published rates."
            " Compiling, reading, solving the probe and saving come on top"
        )
    return lines


def _suggested(
    program: programs.Program, analysis: compiler.Compiled, count: int, chip: chips.Chip
) -> str:
    """Suggests batch sizes, from a small share of the weights in the traffic to a full memory."""
    # The state is read and written once a step, whatever the number of images.
    leaves = jax.tree.leaves(program.arguments[0])
    state = 2.0 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    images = program.images // count
    per_image = max(analysis.moved - state, 1.0) / images
    least = _LEAST_IMAGES
    while state > _STATE_SHARE * (state + least * per_image):
        least *= 2
    free = chip.memory_bytes * (1 - _SPARE) - (analysis.total - analysis.temporaries)
    most = max(int(images * free / max(analysis.temporaries, 1)), images)
    return (
        f"suggested batch_size: from {least * count:,} ({least:,} images a chip, with which the"
        f" weights are at most {_STATE_SHARE:.0%} of the traffic) to {most * count:,} (what memory"
        f" should hold); it is {program.images:,}"
    )


def _too_large(
    config: ConfigDict, count: int, program: programs.Program, analysis: compiler.TooLarge
) -> str:
    images = program.images
    short = (
        f"{program.name}: does not fit: {_bytes(analysis.needed)} of temporaries,"
        f" {_bytes(analysis.available)} available; "
    )
    share = images // count
    parts = [
        parts
        for parts in range(1, share + 1)
        if share % parts == 0 and analysis.needed / parts <= analysis.available * (1 - _SPARE)
    ]
    if not parts:
        return short + "not even an image per chip does: try a smaller config.image_size"
    if program.name != "training":
        return short + f"try --config.eval_batch_size={images // parts[0]}"
    accumulated = config.accum_steps * parts[0]
    return short + (
        f"try --config.accum_steps={accumulated}, which sees the same images,"
        f" or --config.batch_size={images // parts[0]}"
    )


def _bytes(size: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size:.0f} B"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def main(argv: Sequence[str]) -> None:
    """Compiles and reports."""
    if len(argv) > 1:
        command.stop(f"unexpected argument {argv[1]!r}: flags are written --flag=value")
    command.start()
    # A TPU that is there may be at work.
    jax.config.update("jax_platforms", "cpu")
    # JAX keeps programs for a topology as well, but cannot read them again.
    jax.config.update("jax_enable_compilation_cache", False)

    def run() -> None:
        config = flag.CONFIG.value
        validate(config)
        show(config, _TOPOLOGY.value, examine(config, _TOPOLOGY.value))

    command.guarded(run)


if __name__ == "__main__":
    app.run(main, flags_parser=flag.parse_flags)
