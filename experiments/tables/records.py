"""Reads the records in experiments/results/ and the notes on the machines that made them."""

import json
from typing import Any

from experiments import RESULTS


def read(name: str) -> Any:
    """The content of results/<name>.json."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def machines(name: str) -> dict[str, str]:
    """Date -> machine of a record, or of a folder of records.

    The programs do not record the machine in full. results/machines.json has what was noted by hand
    when they ran.
    """
    return read("machines")[name]


def machine_lines(name: str) -> str:
    """A list in Markdown of the dates and machines of a record."""
    return "\n".join(f"- {date}: {machine}." for date, machine in machines(name).items())
