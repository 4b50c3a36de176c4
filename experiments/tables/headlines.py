"""The headline of each result, for experiments/README.md."""

from collections.abc import Callable

from experiments.bench import entries
from experiments.tables import speed, task1_runs, tpu
from experiments.tables.markdown import interval, percent, table
from experiments.tables.records import machines, read

_B0 = "efficientnetv2-b0"
_NAMES = {
    ("efficientnetv2-b0", "longer", 192): "B0, fine-tuned longer at 192 px",
    ("efficientnetv2-b0", "finetune", 128): "B0, fine-tuned at 128 px",
    ("mobilenet", "finetune", 128): "MobileNet, fine-tuned at 128 px",
    ("efficientnetv2-b0", "probe", 128): "B0, linear probe at 128 px",
    ("efficientnetv2-b0", "probe", 224): "B0, linear probe at 224 px",
    ("mobilenet", "probe", 128): "MobileNet, linear probe at 128 px",
    ("efficientnetv2-b0", "notebook", 96): "B0, notebook's recipe",
    ("mobilenet", "notebook", 128): "MobileNet, notebook's recipe",
}


def headlines(link: Callable[[str], str]) -> str:
    """One row per result: headline, interval, command, date, page with the tables."""
    rows = [*_task1(), *_speed(), _time_to_result(), _tpu()]
    pages = {page: f"[{page}]({link(f'experiments/results/{page}.md')})" for *_, page in rows}
    return table(
        ("result", "headline", "interval or range", "seeds", "command", "date", "tables"),
        [(*cells, pages[page]) for *cells, page in rows],
    )


def _task1() -> list[tuple[str, ...]]:
    grouped = task1_runs.by_key(task1_runs.runs())
    rows: list[tuple[str, ...]] = []
    for key, name in _NAMES.items():
        same = grouped[key]
        accuracy, low, high = task1_runs.mean_interval(same)
        rows.append(
            (
                name,
                f"{percent(accuracy)} of the test images",
                interval(low, high),
                task1_runs.seeds(same),
                f"`{same[0].command}`",
                same[0].date,
                "task1",
            )
        )
    return rows


def _speed() -> list[tuple[str, ...]]:
    record = read("bench")
    measured = entries.of(record)
    rows: list[tuple[str, ...]] = []
    for kind in ("train, trained BN", "forward"):
        at_128 = [entry for entry in measured if (entry.model, entry.size) == (_B0, 128)]
        ours, keras = (
            next(entry for entry in at_128 if (entry.kind, entry.peer) == (kind, peer))
            for peer in ("cifsel", speed.KERAS)
        )
        ratio, low, high = entries.times_as_fast(ours, keras)
        rows.append(
            (
                f"B0 at 128 px, {kind}",
                f"{ratio:.2f} times as fast as Keras",
                f"{low:.2f} to {high:.2f} over processes",
                "",
                "`python -m experiments.bench`",
                record["date"],
                "speed",
            )
        )
    return rows


def _time_to_result() -> tuple[str, ...]:
    record = read("time_to_result")
    walls = {kind: [run["wall_seconds"] for run in runs] for kind, runs in record["runs"].items()}
    first, keras = task1_runs.mean(walls["first run"]), task1_runs.mean(walls["Keras"])
    return (
        "Time to more than 61.0 %",
        f"{first:.0f} s, Keras {keras:.0f} s",
        f"{min(walls['first run']):.0f} to {max(walls['first run']):.0f} s",
        "0",
        "`python -m experiments.bench.time_to_result`",
        record["date"],
        "speed",
    )


def _tpu() -> tuple[str, ...]:
    record = read("preflight")
    largest = max(
        tpu.memory_of(entry)
        for entry in record["slices"]
        if entry["topology"] == "v5e:1x1" and entry["pixels"] == 128
    )
    return (
        "Recipes on one TPU v5e chip, compiled only",
        f"at most {largest / 1e9:.2f} of 16 GB",
        "",
        "",
        f"`{record['command']}`",
        next(iter(machines("preflight"))),
        "tpu",
    )
