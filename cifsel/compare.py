"""Compares finished runs: which model is better, by how much, and how certain that is.

    python -m cifsel.compare /tmp/effnet /tmp/mobilenet --output=/tmp/comparison

The runs must have seen the same images. Runs that differ by their seed alone count as one model.
The output folder gets report.html, report.md, comparison.json, figures/, TensorBoard summaries, and
best.json. The latter points to the model to use, and `--config.init_from=DIR` follows it.
"""

import sys
import types
from typing import Any

from cifsel.config import Parser, path
from cifsel.runtime import command


class _Module(types.ModuleType):
    """Keeps `cifsel.compare` callable, which Python sets to this module once it is imported."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from cifsel import api

        return api.compare(*args, **options)


sys.modules[__name__].__class__ = _Module


def run(folders: list[str], output: str, reviewed: str | None) -> None:
    """Compares, with JAX, for which --help should not wait."""
    from cifsel.comparison import comparing

    comparing.compare(folders, output, reviewed)


def main() -> None:
    """Parses the command line and compares."""
    parser = Parser("cifsel.compare", __doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=path, metavar="RUN", help="workdir of a finished run")
    add("--output", required=True, type=path, metavar="DIR", help="folder of the report")
    words = "what people said of labels of test images; docs/compare.md has the columns"
    add("--reviewed", type=path, metavar="CSV", help=words)
    flags = parser.parse_args()
    command.start()
    command.guarded(lambda: run(flags.runs, flags.output, flags.reviewed))


if __name__ == "__main__":
    main()
