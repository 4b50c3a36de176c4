"""Writes the model card of the published models from what their files say of themselves.

    python -m experiments.model_card            # write experiments/models/README.md
    python -m experiments.model_card --check    # exit with 1 if it is out of date

The files are `experiments/models/*.safetensors`, written by
`python -m cifsel.export --format=cifsel`. Together they have at most 15 MB. Beside each is a .csv
file of the same name: what the model answers for the pictures of `experiments.draw_animals`,
written by `python -m cifsel.predict experiments/models/drawn --csv`.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cifsel.errors import UserError, printable
from experiments import generated
from experiments.tables.markdown import interval, percent, table
from experiments.tables.task1_runs import MODELS

FOLDER = Path(__file__).parent / "models"
DRAWN = FOLDER / "drawn"  # pictures to ask a model about
CARD = "README.md"
MAX_BYTES = 15_000_000
_WORST = 5  # classes that are named
_HEAD = """\
<!-- Written by `python -m experiments.model_card` from the files. Do not edit. -->

# Published models

Each file has a classifier of 50 classes of CIFAR-100, the animals and people. It answers without
training and without a network:

```bash
python -m cifsel.predict photo.jpg
```

`--checkpoint=experiments/models/FILE` asks a file of your choice. `--config.init_from` starts
[task 2](../../docs/selfies.md) from it, and `cifsel.web --checkpoint` the page. The format is
[safetensors](../../docs/export.md#one-file-for-cifsel). The header has the classes, the
preprocessing, the record and the licence.
"""
_DRAWN = """\
## Try it without a photo

`python -m cifsel.predict experiments/models/drawn` asks about ten drawn animals. The models have
seen photos only. The pictures were drawn before any model was asked, and all of them are here:

"""
_USE = """\
## Intended use

- a first look at what the programs do
- the network that own photos are told apart with
- a reference for comparisons on these 50 classes

It is not meant for decisions about people or animals.

## Limits

- It learned from pictures of 32 x 32 pixels, which were enlarged. Details of a photo are lost.
- It gives one of the 50 classes to any photo, also to a photo of none of them.
- The five classes of people are among the hardest of CIFAR-100. Its labels of people are by age and
  sex, as whoever labelled the pictures saw them. They say nothing about a person.
- Its probabilities hold for pictures like those of CIFAR-100.
"""


def card(folder: Path) -> str:
    """The text of the card.

    Raises:
      UserError: there is no file, a file is none of task 1, or the files are too large.
    """
    from cifsel.workdir import model_file

    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise UserError(f"{folder} has no .safetensors file: export one with --format=cifsel")
    if (total := sum(path.stat().st_size for path in paths)) > MAX_BYTES:
        raise UserError(
            f"the files of {folder} have {total / 1e6:.1f} MB; expected {MAX_BYTES / 1e6:.0f} at"
            " most: export one with --quantize=int8"
        )
    files = [(path, model_file.read(path).facts) for path in paths]
    for path, facts in files:
        if "test_by_class" not in facts.record:
            raise UserError(f"{path} is of no run of task 1: publish those alone")
    rows = [_row(path, facts) for path, facts in files]
    header = ("file", "model", "pixels", "size", "weights", "test accuracy", "95 % interval")
    details = [_details(path, facts) for path, facts in files]
    return "\n".join([_HEAD, table(header, rows), "", _drawn(paths), _USE, *details])


def _row(path: Path, facts: Any) -> tuple[str, ...]:
    test = facts.record["test"]
    return (
        f"[{path.name}]({path.name})",
        MODELS[facts.meta["config"]["model"]],
        str(facts.preprocessing["image_size"]),
        f"{path.stat().st_size / 1e6:.1f} MB",
        facts.weights,
        percent(test["accuracy"]),
        interval(*test["interval"]),
    )


def _drawn(models: Sequence[Path]) -> str:
    """Returns a table of the answers for the drawn animals. '' if no model was asked."""
    answers: dict[str, dict[str, str]] = {}
    asked = [model for model in models if model.with_suffix(".csv").exists()]
    for model in asked:
        with model.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                answer = f"{row['label']} {percent(float(row['probability']), 0)}"
                answers.setdefault(Path(row["photo"]).name, {})[model.name] = answer
    if not answers:
        return ""
    rows = [
        (
            f"![{Path(name).stem}](drawn/{name})",
            Path(name).stem,
            *(of.get(m.name, "") for m in asked),
        )
        for name, of in sorted(answers.items())
    ]
    return _DRAWN + table(("picture", "drawn", *(model.stem for model in asked)), rows) + "\n"


def _details(path: Path, facts: Any) -> str:
    record = facts.record
    names = {"train": "training", "val": "validation", "test": "test"}
    counts = ", ".join(f"{record['examples'][part]:,} {name}" for part, name in names.items())
    lines = [
        f"- Data: {printable(record['dataset'])}, {counts} images",
        f"- Base: {_base(facts.meta['weights'])}",
        f"- Test accuracy: {_score(record['test'])}",
        f"- Validation accuracy: {_score(record['validation'])}",
        f"- {_rounding(facts)}",
        f"- Hardest classes, by the share of test images that were recognised: {_hardest(record)}",
        f"- Preprocessing: {_preprocessing(facts.preprocessing)}",
        f"- Sets of classes: {_sets(facts.coverage)}",
        f"- Training: `{printable(record['command'])}`, seed {record['seed']},"
        f" {record['finished'][:10]}, {printable(record['devices'])}, commit"
        f" {str(record['git_commit'])[:12]}",
        f"- Checkpoint: SHA-256 {record['checkpoint_sha256']}",
        f"- Written by cifsel {facts.cifsel_version}",
        f"- Licence: {printable(facts.licence)}",
    ]
    return f"## {path.name}\n\n" + "\n".join(lines) + "\n"


def _base(weights: Mapping[str, Any] | None) -> str:
    if weights is None:
        return "none, it was trained from scratch"
    return (
        f"ImageNet weights of keras.applications, {printable(weights['file'])}, tensors"
        f" {weights['tensors_sha256'][:12]}"
    )


def _score(score: Mapping[str, Any]) -> str:
    return (
        f"{percent(score['accuracy'])} of {score['images']:,} images (95 % interval"
        f" {interval(*score['interval'])})"
    )


def _rounding(facts: Any) -> str:
    rounding = facts.record["rounding"]
    if rounding is None:
        return f"What the rounding to {facts.weights} changes was not measured"
    return (
        f"Rounding: {percent(rounding['before'], 2)} of {rounding['images']:,} validation images"
        f" in float32, {percent(rounding['after'], 2)} in {facts.weights}. The test accuracy is"
        " that of float32"
    )


def _hardest(record: Mapping[str, Any]) -> str:
    by_class = [
        (share, name) for name, share in record["test_by_class"].items() if share is not None
    ]
    return ", ".join(f"{printable(name)} {percent(s, 0)}" for s, name in sorted(by_class)[:_WORST])


def _preprocessing(how: Mapping[str, Any]) -> str:
    mirror = ", averaged over the square and its mirror image" if how["mirror"] else ""
    return (
        f"a square of {how['side']} pixels, resized to {how['image_size']} ({how['resize']}), then"
        f" (RGB - {how['mean']}) / {how['std']}{mirror}"
    )


def _sets(coverage: Mapping[str, float]) -> str:
    if not coverage:
        return "not calibrated"
    return ", ".join(
        f"all classes from a probability of {least:.4g} on hold the right one for"
        f" {percent(float(wanted), 0)} of such images"
        for wanted, least in coverage.items()
    )


def write(check: bool) -> None:
    """Writes the card, or exits with 1 if it is out of date."""
    generated.write({FOLDER / CARD: card(FOLDER)}, FOLDER.parent, check=check)


def main() -> None:
    """Parses the command line, and writes or checks."""
    generated.main("experiments.model_card", __doc__, write)


if __name__ == "__main__":
    main()
