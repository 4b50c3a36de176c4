"""The content of the report of a comparison."""

import dataclasses
from collections.abc import Sequence

from cifsel.comparison import tables
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.examples import Examples
from cifsel.comparison.findings import Findings, may_have_copies
from cifsel.comparison.report_charts import make_charts
from cifsel.comparison.reviewed import ReviewEntry
from cifsel.comparison.verdict import Verdict, sentence_on_test, sentence_on_validation
from cifsel.data.splits import Dataset
from cifsel.reports import looks
from cifsel.reports.layout import Item
from cifsel.reports.page import DRAWN, Chart, Gallery, Page, Table

NOTES = {
    "intervals": (
        "All intervals are 95 % intervals. For a single seed, or seeds that all agree, they are"
        " Wilson's over the images. Otherwise they are t-intervals over images and seeds. All"
        " choices were made on validation images, that of the candidate to use included. The test"
        " images were scored once per run."
    ),
    "differences": (
        "Accuracy of the chosen candidate minus that of the other, on the same images. With one"
        " seed each, p is that of McNemar's exact test. Otherwise it is that of a t-test in which"
        " the variance between seeds is added to that between images. p is not corrected for the"
        " number of rows."
    ),
    "configs": "Fields of the configuration in which the candidates differ. All others are equal.",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """The content of a report, before it becomes HTML, Markdown or summaries.

    Attributes:
      verdict: sentence on the choice, from validation images.
      on_test: sentence on the test images.
      scores: one column per candidate.
      differences: of the chosen candidate from the others.
      configs: fields in which the configurations differ.
      charts: in the order in which they are shown.
      galleries: in the order in which they are shown.
      commands: command lines of the runs.
      versions: of each run.
      warnings: reservations under which the numbers must be read.
      title: of the report.
      drawn: whether the images are drawn by this program.
    """

    verdict: str
    on_test: str
    scores: Table
    differences: Table
    configs: Table
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    commands: tuple[str, ...]
    versions: Table
    warnings: tuple[str, ...]
    title: str
    drawn: bool


def make_report(
    dataset: Dataset,
    candidates: Sequence[Candidate],
    verdict: Verdict,
    findings: Findings,
    reviewed: ReviewEntry | None = None,
) -> Report:
    """Makes the report of a comparison."""
    pair = verdict.chosen, verdict.rival
    # The same order everywhere, so that each candidate keeps its colour.
    ordered = [*pair, *(candidate for candidate in candidates if candidate not in pair)]
    runs = [run for candidate in ordered for run in candidate.runs]
    examples = Examples(dataset, pair)
    galleries = (
        examples.confusions(0),
        examples.confusions(1),
        examples.disagreements(0),
        examples.disagreements(1),
        examples.gradcams(),
        examples.label_errors(findings, len(runs), reviewed),
        *([examples.duplicates(findings.duplicates)] if may_have_copies(candidates) else []),
    )
    return Report(
        verdict=sentence_on_validation(verdict),
        on_test=sentence_on_test(verdict),
        scores=tables.score_table(ordered, findings.without_duplicate(len(dataset.test)), reviewed),
        differences=tables.difference_table(candidates, verdict),
        configs=tables.config_table(ordered),
        charts=make_charts(dataset, ordered, _items(candidates), pair),
        galleries=galleries,
        commands=tuple(run.metrics.provenance.command for run in runs),
        versions=tables.version_table(ordered),
        warnings=tuple(tables.warnings(candidates)),
        title=_title(candidates),
        drawn=candidates[0].runs[0].metrics.dataset == "drawn",
    )


def _items(candidates: Sequence[Candidate]) -> dict[str, Item]:
    """Gives each candidate its colour, by its name. The verdict has no influence."""
    places = looks.places([candidate.runs[0].metrics.model for candidate in candidates])
    names = [candidate.name for candidate in candidates]
    return {name: Item(name, place) for name, place in zip(names, places, strict=True)}


def _title(candidates: Sequence[Candidate]) -> str:
    """Makes the title. Only networks with weights of other images can transfer."""
    pretrained = [bool(candidate.runs[0].metrics.weights) for candidate in candidates]
    if all(pretrained):
        return "Which network transfers better?"
    if not any(pretrained):
        return "Which network learns better from scratch?"
    return "Which network is better?"


def make_page(report: Report, command: str) -> Page:
    """Makes a page of the report.

    Args:
      report: the content.
      command: the command line of the comparison.
    """
    title = f"{report.title} (drawn images)" if report.drawn else report.title
    context = {"title": title, "report": report, "notes": NOTES, "command": command}
    return Page(
        "comparison", report.charts, report.galleries, context, DRAWN if report.drawn else ""
    )
