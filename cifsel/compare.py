"""Says of finished runs which model is better, by how much, and how sure that is.

    python -m cifsel.compare /tmp/effnet /tmp/mobilenet --output=/tmp/comparison

Any runs that saw the same images; those that differ by their seed alone count as one model. The
output folder gets report.html, report.md, comparison.json, figures/, TensorBoard summaries, and
best.json, the pointer to the model to use, which `--config.init_from=DIR` follows.
"""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import build, workdir
from cifsel.comparison import content, runs, verdict
from cifsel.config import arguments
from cifsel.data.splits import Dataset, Split
from cifsel.errors import UserError
from cifsel.runtime import command, remote
from cifsel.runtime.paths import exists
from cifsel.terminal import say, show_table
from cifsel.workdir import checkpoints, summaries

COMPARISON = "comparison.json"


def compare(folders: Sequence[str], output: str) -> dict[str, Any]:
    """Compares finished runs and writes the report.

    Args:
      folders: workdirs of at least two runs; those that differ by their seed alone count as one
        candidate.
      output: a folder, made if it is not there; an earlier report in it is replaced.

    Returns:
      What comparison.json holds.

    Raises:
      UserError: a run is unfinished or damaged, the runs cannot be compared, or the images are not
        to be had.
    """
    remote.reach(output)
    target = epath.Path(output)
    if (target / workdir.CONFIG).exists() or (target / workdir.METRICS).exists():
        raise UserError(f"output {target} is the workdir of a run: give another --output")
    found = runs.candidates([runs.read(folder) for folder in folders])
    dataset = _images(found[0].runs[0])
    decided = verdict.decide(found)
    say(verdict.sentence(found, decided))
    say(verdict.on_test(found, decided))
    findings = content.Findings.of(dataset, found)
    report = content.make(dataset, found, decided, findings)
    result = _result(dataset, found, decided, findings)
    said = shlex.join(["python", "-m", "cifsel.compare", *folders, f"--output={output}"])
    workdir.make(target, "output")
    with summaries.open_writer(output) as writer:
        content.page(report, said).write(target, writer)
    workdir.write_json(target / COMPARISON, result)
    workdir.write_json(target / workdir.BEST, _best(target, found[decided.chosen]))
    show_table(
        "comparison",
        {f"{one['name']}, test": _accuracy(one["test"]["accuracy"]) for one in result["candidates"]}
        | {
            "better model": found[decided.chosen].name,
            "report": str(target / "report.html"),
            "checkpoint to use": str(target / workdir.BEST),
            "summaries": f"tensorboard --logdir={target}",
        },
    )
    return result


def _accuracy(found: dict[str, Any]) -> str:
    return f"{found['mean']:.2%}  (95 % interval {found['low']:.1%} to {found['high']:.1%})"


def _images(run: runs.Run) -> Dataset:
    """The images that the runs saw."""
    config = ConfigDict(run.config)
    if config.data_dir and not _is_there(config.data_dir):
        config.data_dir = None  # The run was made elsewhere; TFDS_DATA_DIR may help here.
    dataset = build.dataset(config)
    if dataset.fingerprint != run.metrics["fingerprint"]:
        raise UserError(
            f"the images found now are not those of {run.folder} (fingerprints"
            f" {dataset.fingerprint[:12]} and {run.metrics['fingerprint'][:12]}): set TFDS_DATA_DIR"
            " to the folder of the right ones"
        )
    for split in runs.SPLITS:
        images: Split = getattr(dataset, split)
        if not (
            np.array_equal(run.labels[split], images.labels)
            and np.array_equal(run.ids[split], images.ids)
            and run.class_names == dataset.class_names
        ):
            raise UserError(
                f"{run.folder / workdir.PREDICTIONS} is not of the {split} images of"
                f" {workdir.METRICS}: run it again in a new folder"
            )
    return dataset


def _is_there(folder: str) -> bool:
    try:
        return exists(remote.path(folder))
    except UserError:
        return False


def _result(
    dataset: Dataset,
    found: Sequence[runs.Candidate],
    decided: verdict.Verdict,
    findings: content.Findings,
) -> dict[str, Any]:
    """Everything a program may want to know of the comparison; JSON-ready."""
    test = dataset.test
    return {
        "verdict": verdict.sentence(found, decided),
        "on_test": verdict.on_test(found, decided),
        "chosen": found[decided.chosen].name,
        "rival": found[decided.rival].name,
        "within_noise": decided.within_noise,
        "differences": {
            split: dataclasses.asdict(one) for split, one in decided.differences.items()
        },
        "candidates": [
            {
                "name": one.name,
                "runs": [str(run.folder) for run in one.runs],
                "val": verdict.scores(one, "val"),
                "test": verdict.scores(one, "test"),
                "cost": verdict.cost(one),
            }
            for one in found
        ],
        "per_coarse": verdict.per_group(
            found[decided.chosen], found[decided.rival], dataset.coarse_of, dataset.coarse_names
        ),
        "differing_fields": runs.differing_fields(found),
        "duplicates": [
            {
                "test_id": int(test.ids[one.test_position]),
                "similarity": one.similarity,
                "exact": one.exact,
            }
            for one in findings.duplicates
        ],
        "suspects": [
            {
                "test_id": int(test.ids[one.position]),
                "label": dataset.class_names[one.label],
                "predicted": dataset.class_names[one.predicted],
                "probability": one.probability,
            }
            for one in findings.suspects
        ],
        "fingerprint": dataset.fingerprint,
    }


def _best(target: epath.Path, chosen: runs.Candidate) -> dict[str, Any]:
    """The pointer to the model to use: of the seeds, the best on validation."""
    run = chosen.best_run()
    # Relative where the run lies below, so that the whole folder can be moved.
    below = os.path.relpath(run.folder, target)
    together = remote.is_remote(run.folder) == remote.is_remote(target)
    inside = together and not below.startswith("..")
    return {
        "run": below if inside else str(run.folder),
        "checkpoint": checkpoints.FOLDER,
        "model": run.metrics["model"],
        "image_size": run.config["image_size"],
        "resize": run.config["resize"],
        "class_names": list(run.class_names),
        "validation_accuracy": run.metrics["val"]["accuracy"],
        "test_accuracy": run.metrics["test"]["accuracy"],
    }


def main() -> None:
    """Parses the command line and compares."""
    parser = arguments.Parser("cifsel.compare", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="workdir of a finished run")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the report")
    flags = parser.parse_args()
    command.start()
    command.guarded(lambda: compare(flags.runs, flags.output))


if __name__ == "__main__":
    main()
