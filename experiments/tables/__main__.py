"""Writes the tables of all results from their records.

    python -m experiments.tables            # write pages and marked sections
    python -m experiments.tables --check    # exit with 1 if any of them is out of date

The records and pages are in experiments/results/. A marked section of a document stands between
`<!-- table: NAME -->` and `<!-- end of table -->`.
"""

from pathlib import Path

from experiments import RESULTS
from experiments import generated as files
from experiments.tables import (
    ablation,
    export,
    headlines,
    label_doubts,
    own_images,
    selfie,
    speed,
    task1,
    tpu,
)
from experiments.tables.markdown import Section, with_sections

ROOT = RESULTS.parents[1]
PAGES = {
    "task1": task1.page,
    "own_images": own_images.page,
    "selfie": selfie.page,
    "ablation": ablation.page,
    "speed": speed.page,
    "tpu": tpu.page,
    "export": export.page,
}
SECTIONS: dict[str, Section] = {
    "headlines": headlines.headlines,
    "task1": task1.summary,
    "accuracies": task1.accuracies,
    "own-images": lambda _: own_images.summary(),
    "selfie": lambda _: selfie.curve(),
    "goals": lambda _: task1.goals(),
    "speed": lambda _: speed.ratios("bench"),
    "speed-avx2": lambda _: speed.ratios("bench-avx2"),
    "exports": lambda _: export.summary(),
    "model-files": lambda _: export.model_files(),
    "label-doubts": lambda _: label_doubts.counts(),
    "time-to-result": lambda _: speed.times(),
}
_NOTE = "<!-- Written by `python -m experiments.tables` from the records. Do not edit. -->\n\n"


def documents() -> list[Path]:
    """Documents that may have marked sections."""
    return [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "experiments").glob("*.md"),
    ]


def generated() -> dict[Path, str]:
    """The content that the records give each page, and each document with marked sections."""
    texts = {RESULTS / f"{name}.md": _NOTE + page() for name, page in PAGES.items()}
    for path in documents():
        texts[path] = with_sections(path.read_text(), path.parent, ROOT, SECTIONS)
    return texts


def outdated() -> dict[Path, str]:
    """Those of `generated` that differ from the files."""
    return files.outdated(generated())


def main() -> None:
    """Parses the command line, and writes or checks."""
    files.main("experiments.tables", __doc__, write)


def write(check: bool) -> None:
    """Writes what is out of date, or exits with 1 if there is something."""
    files.write(generated(), ROOT, check=check)


if __name__ == "__main__":
    main()
