"""The content of the report of a comparison."""

import dataclasses
from collections.abc import Sequence

from cifsel.comparison import tables
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.examples import Examples
from cifsel.comparison.findings import Findings
from cifsel.comparison.report_charts import make_charts
from cifsel.comparison.verdict import Verdict, sentence_on_test, sentence_on_validation
from cifsel.data.splits import Dataset
from cifsel.reports.page import Chart, Gallery, Page, Table

TITLE = "Which network transfers better?"
NOTES = {
    "intervals": (
        "All intervals are 95 % intervals: Wilson's over the images for a single seed, or seeds that all agree, else a"
        " t-interval over images and seeds together. All choices were made on validation images,"
        " including the choice of the candidate to use. The test images were scored once per run."
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


def make_report(
    dataset: Dataset, candidates: Sequence[Candidate], verdict: Verdict, findings: Findings
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
        examples.label_errors(findings.label_errors, len(runs)),
        examples.duplicates(findings.duplicates),
    )
    without_duplicate = findings.without_duplicate(len(dataset.test))
    return Report(
        verdict=sentence_on_validation(verdict),
        on_test=sentence_on_test(verdict),
        scores=tables.score_table(ordered, without_duplicate),
        differences=tables.difference_table(candidates, verdict),
        configs=tables.config_table(ordered),
        charts=make_charts(dataset, ordered, pair),
        galleries=galleries,
        commands=tuple(run.metrics.provenance.command for run in runs),
        versions=tables.version_table(ordered),
        warnings=tuple(tables.warnings(candidates)),
    )


def make_page(report: Report, command: str) -> Page:
    """Makes a page of the report.

    Args:
      report: the content.
      command: the command line of the comparison.
    """
    context = {"title": TITLE, "report": report, "notes": NOTES, "command": command}
    return Page("comparison", report.charts, report.galleries, context)
