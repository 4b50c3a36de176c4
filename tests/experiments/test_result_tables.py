"""The committed tables are those that the records give."""

import json
import re

import pytest

from experiments import RESULTS
from experiments.tables import __main__ as command
from experiments.tables import headlines, markdown, records, task1, task1_runs


def test_committed_tables_are_those_of_the_records():
    names = [path.relative_to(command.ROOT).as_posix() for path in command.outdated()]
    assert names == [], "python -m experiments.tables writes them"


def test_a_changed_record_changes_the_page(monkeypatch, tmp_path):
    metrics = json.loads((RESULTS / "task1" / "effnet-probe-128px.json").read_text())
    metrics["test"]["accuracy"] = 0.4321
    (tmp_path / "task1").mkdir()
    for path in (RESULTS / "task1").glob("*.json"):
        (tmp_path / "task1" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "task1" / "effnet-probe-128px.json").write_text(json.dumps(metrics))
    monkeypatch.setattr(task1_runs, "RESULTS", tmp_path)
    assert "43.21 %" in task1.every_run()
    assert task1.page() not in (RESULTS / "task1.md").read_text()


def test_a_section_is_replaced_between_its_marks(tmp_path):
    text = "before\n<!-- table: name -->\nold\n<!-- end of table -->\nafter\n"
    sections = {"name": lambda link: f"new, {link('experiments/results/x.json')}"}
    folder = tmp_path / "experiments"
    written = markdown.with_sections(text, folder, tmp_path, sections)
    assert written == (
        "before\n<!-- table: name -->\nnew, results/x.json\n<!-- end of table -->\nafter\n"
    )
    assert markdown.with_sections(written, folder, tmp_path, sections) == written
    with pytest.raises(KeyError, match="name"):
        markdown.with_sections(text, folder, tmp_path, {})


def test_an_outdated_page_is_found_and_written(monkeypatch, tmp_path, capsys):
    page = tmp_path / "page.md"
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "generated", lambda: {page: "text\n"})
    # It prepares a process for its end, and this one goes on.
    monkeypatch.setattr(command.files.command, "start_terminal", lambda: None)
    monkeypatch.setattr("sys.argv", ["tables", "--check"])
    with pytest.raises(SystemExit) as done:
        command.main()
    assert (done.value.code, page.exists(), capsys.readouterr().out) == (1, False, "page.md\n")
    monkeypatch.setattr("sys.argv", ["tables"])
    for _ in range(2):  # The second time nothing is out of date.
        command.main()
        assert page.read_text() == "text\n"
    assert capsys.readouterr().out == "page.md\n"


def test_the_mean_over_seeds_has_the_interval_of_one_test_set():
    same = task1_runs.by_key(task1_runs.runs())["efficientnetv2-b0", "finetune", 128]
    assert [run.seed for run in same] == [0, 1, 2]
    mean, low, high = task1_runs.mean_interval(same)
    assert mean == pytest.approx(sum(run.accuracy for run in same) / 3)
    assert min(run.low for run in same) <= low < mean < high <= max(run.high for run in same)


def dates(name):
    """When the runs of a record were made."""
    if name == "task1":
        return {run.date for run in task1_runs.runs()}
    record = records.read(name)
    if isinstance(record, list):
        return {run["finished"][:10] for run in record}
    if "date" in record:
        return {record["date"]}
    return {record.get("environment", record)["finished"][:10]}


@pytest.mark.parametrize("name", sorted(set(records.read("machines")) - {"preflight"}))
def test_every_date_of_a_record_has_its_machine(name):
    assert set(records.machines(name)) == dates(name)


def test_every_record_has_its_machine():
    names = {path.stem for path in RESULTS.glob("*.json")} - {"machines"} | {"task1"}
    assert set(records.read("machines")) == names


def test_headlines_link_to_pages_that_exist():
    text = headlines.headlines(lambda path: path)
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    assert links == {f"experiments/results/{name}.md" for name in ("task1", "speed", "tpu")}
    for path in links:
        assert (command.ROOT / path).exists()


def local_links(path):
    """Targets of the links and pictures of a document, without those to the web."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    return [target for target in targets if "://" not in target]


@pytest.mark.parametrize(
    "name", ["README.md", "LOG.md", "tpu/README.md", *(f"results/{n}.md" for n in command.PAGES)]
)
def test_links_of_documents_exist(name):
    path = RESULTS.parent / name
    missing = [target for target in local_links(path) if not (path.parent / target).exists()]
    assert local_links(path)
    assert missing == []


def test_the_index_fits_its_limit():
    assert len((RESULTS.parent / "README.md").read_text().splitlines()) <= 100
