"""Compares finished runs: which model is better, by how much, and how certain that is."""

import shlex
from collections.abc import Sequence

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import build, workdir
from cifsel.comparison import reviewed as reviews
from cifsel.comparison.candidates import group_into_candidates
from cifsel.comparison.findings import examine_test_images
from cifsel.comparison.paired import Estimate
from cifsel.comparison.report import make_page, make_report
from cifsel.comparison.results import BestRun, Comparison, best_run, describe
from cifsel.comparison.reviewed import Review
from cifsel.comparison.runs import Run, digest, read_run
from cifsel.comparison.verdict import decide, sentence_on_test, sentence_on_validation
from cifsel.data.splits import Dataset, Split
from cifsel.errors import UserError
from cifsel.reports.page import Page
from cifsel.runtime import remote, typed
from cifsel.runtime.bars import show_table, working
from cifsel.runtime.paths import exists
from cifsel.runtime.terminal import say
from cifsel.workdir import records, summaries
from cifsel.workdir.predictions import SPLITS

COMPARISON = "comparison.json"
# Folder of the summaries, which TensorBoard names them by.
SUMMARIES = "comparison"


def compare(folders: Sequence[str], output: str, reviewed: str | None = None) -> Comparison:
    """Compares finished runs and writes the report.

    Args:
      folders: workdirs of at least two runs. Those that differ by their seed alone count as one
        candidate.
      output: a folder, made if it is not there. An earlier report in it is replaced.
      reviewed: a file of what people said of labels, as `reviewed.read` has it. None without one.

    Returns:
      The content of comparison.json.

    Raises:
      UserError: a run is unfinished or damaged, the runs cannot be compared, their images are not
        available, or the file of labels cannot be used.
    """
    target = output_folder(output)
    rows = reviews.read(reviewed) if reviewed else []
    candidates = group_into_candidates([read_run(folder) for folder in folders])
    inputs = [digest(remote.place(folder)) for folder in folders]
    dataset = _load_images(candidates[0].runs[0])
    review = _review(rows, reviewed, dataset) if reviewed else None
    verdict = decide(candidates)
    say(sentence_on_validation(verdict))
    say(sentence_on_test(verdict))
    findings = examine_test_images(dataset, candidates, review)
    entry = None
    if reviewed and review:
        entry = reviews.describe(reviewed, review, candidates, findings.label_errors)
        say(entry.sentence())
    with working("drawing the report"):
        report = make_report(dataset, candidates, verdict, findings, entry)
    comparison = describe(dataset, candidates, verdict, findings, inputs=inputs, reviewed=entry)
    flags = [f"--output={output}", *([f"--reviewed={reviewed}"] if reviewed else [])]
    arguments = shlex.join([*folders, *flags])
    page = make_page(report, f"{typed.words('cifsel.compare')} {arguments}")
    _write(target, page, comparison, best_run(target, verdict.chosen))
    _show(target, comparison)
    return comparison


def finished(folders: Sequence[str], output: str) -> Comparison | None:
    """The comparison of just these runs, if it is in the folder already. Prints its table again.

    Args:
      folders: workdirs of finished runs. They may have been moved since.
      output: the folder of the report.
    """
    target = remote.place(output)
    whole = (COMPARISON, workdir.BEST, "report.html", "report.md")
    if not all(exists(target / name) for name in whole):
        return None
    try:
        comparison = records.read(Comparison, workdir.read_json(target / COMPARISON))
        inputs = tuple(digest(remote.place(folder)) for folder in folders)
    except (UserError, KeyError, TypeError, ValueError):
        return None  # Of another version, or damaged: it is made again.
    if comparison.inputs != inputs:
        return None
    say(f"{target} has this comparison already; its report is {target / 'report.html'}")
    say(comparison.verdict)
    say(comparison.on_test)
    _show(target, comparison)
    return comparison


def output_folder(output: str) -> epath.Path:
    """Returns the folder of a comparison, which is made later.

    Raises:
      UserError: it is the workdir of a run, whose files the comparison would replace.
    """
    remote.reach(output)
    target = remote.place(output)
    if (target / workdir.CONFIG).exists() or (target / workdir.METRICS).exists():
        raise UserError(f"output {target} is the workdir of a run: give another --output")
    return target


def _review(rows: Sequence[reviews.Row], file: str, dataset: Dataset) -> Review:
    """Votes of people on the labels of the test images."""
    test = dataset.test
    of_test = {"ids": test.ids, "labels": test.labels}
    return reviews.match(
        rows, file, **of_test, class_names=dataset.class_names, names=dataset.names
    )


def _load_images(run: Run) -> Dataset:
    """Loads the images that the runs saw."""
    config = ConfigDict(run.config)
    if config.data_dir and not _is_there(config.data_dir):
        config.data_dir = None  # The run was made elsewhere; TFDS_DATA_DIR may help here.
    dataset = build.dataset(config)
    if dataset.fingerprint != run.metrics.fingerprint:
        raise UserError(
            f"the images found now are not those of {run.folder} (fingerprints"
            f" {dataset.fingerprint[:12]} and {run.metrics.fingerprint[:12]}): set TFDS_DATA_DIR"
            " to the folder of the right ones"
        )
    for split in SPLITS:
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


def _write(target: epath.Path, page: Page, comparison: Comparison, best: BestRun) -> None:
    workdir.make(target, "output")
    # In a folder of its own, TensorBoard calls it "comparison". Runs may lie beside it.
    summaries.remove(target / SUMMARIES)
    with summaries.open_writer(str(target / SUMMARIES)) as writer:
        page.write(target, writer)
    workdir.write_json(target / workdir.BEST, best.to_json())
    workdir.write_json(target / COMPARISON, comparison.to_json())  # Last: all else is there now.


def _show(target: epath.Path, comparison: Comparison) -> None:
    """Prints the table at the end."""
    accuracies = {
        f"{candidate.name}, test": _accuracy(candidate.test.accuracy)
        for candidate in comparison.candidates
    }
    if comparison.reviewed:
        accuracies |= {
            f"{name}, labels that people did not reject": _accuracy(accuracy)
            for name, accuracy in comparison.reviewed.accuracy.items()
        }
    show_table(
        "comparison",
        accuracies
        | {
            "better model": comparison.chosen,
            "report": str(target / "report.html"),
            "checkpoint to use": str(target / workdir.BEST),
            "summaries": f"tensorboard --logdir={target}",
        },
    )


def _accuracy(accuracy: Estimate) -> str:
    interval = f"{accuracy.low:.1%} to {accuracy.high:.1%}"
    return f"{accuracy.mean:.2%}  (95 % interval {interval})"
