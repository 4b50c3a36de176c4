"""Tables of the TPU compiler's answers."""

from typing import Any

from experiments.tables import markdown
from experiments.tables.records import machine_lines, read


def table(entries: list[dict[str, Any]]) -> str:
    """One row per slice, model, size and program."""
    rows = []
    for entry in entries:
        program = (
            entry["topology"],
            entry["model"],
            str(entry["pixels"]),
            entry.get("form", entry["program"]),
            str(entry["images"] // entry["chips"]),
        )
        if "needed" in entry:
            rows.append((*program, f"does not fit: {entry['needed'] / 1e9:.1f} GB", *[""] * 4))
            continue
        seconds = entry["seconds_at_best"]
        rows.append(
            (
                *program,
                f"{memory_of(entry) / 1e9:.2f} GB",
                f"{entry['flops'] / 1e9:.1f}",
                f"{entry['moved'] / 1e9:.2f}",
                f"{seconds * 1e3:.2f} ms, {entry['limit']}",
                f"{entry['images'] / seconds:,.0f}",
            )
        )
    header = (
        "slice",
        "model",
        "px",
        "program",
        "images/chip",
        "memory",
        "GFLOP",
        "GB moved",
        "at best",
        "images/s",
    )
    return markdown.table(header, rows)


def memory_of(entry: dict[str, Any]) -> float:
    """Bytes of a chip that a program needs."""
    return sum(entry[part] for part in ("arguments", "outputs", "temporaries", "code"))


def page() -> str:
    """results/tpu.md."""
    record = read("preflight")
    return f"""# On TPUs, by their compiler

`{record["command"]}` compiled the programs of both recipes for TPU slices, with libtpu
{record["libtpu"]} and jax {record["jax"]}. No TPU was used and nothing ran.
[preflight.json](preflight.json) has the rest, the largest temporaries included.

Memory is that of one chip: arguments, results, temporaries and code. A v5e chip has 16 GB, a v6e
chip 32 GB. Work and traffic are those of one chip and one step. "At best" is the largest of
arithmetic, traffic and network by the published rates of the chip. It is a bound and not a
forecast.

{table(record["slices"])}

The gradient step of one chip at 224 px, with each form of the depthwise convolution:

{table(record["forms"])}

Hardware, noted by hand:

{machine_lines("preflight")}
"""
