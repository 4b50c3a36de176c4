"""Draws results/task1/accuracy.png and time.png from the records beside them.

    python -m experiments.plot_task1

Each record is the metrics.json of a run. time.png has one point for each model, recipe and number
of pixels. Its minutes are those of the machine of results/bench.json. A run whose training steps
were slower than the bench's by more than a quarter was on a slower machine, or of older code. Its
minutes are multiplied by the ratio of the two rates.
"""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cifsel.config import arguments
from cifsel.reports import looks, style
from cifsel.runtime import command
from experiments import RESULTS
from experiments.tables.task1_runs import MODELS, RECIPES

FOLDER = RESULTS / "task1"
# Recipes in the order of accuracy.png.
MARKERS = {"notebook": "s", "probe": "^", "finetune": "o", "longer": "D"}
_CLOSE = 1.5  # ratio of two times
# Accuracies that the reference notebook reported, of one seed, without intervals.
REPORTED = {"efficientnetv2-b0": 0.610, "mobilenet": 0.550}


@style.styled
def draw(runs: list[dict]) -> Figure:
    """One row per run: test accuracy, its 95 % interval, and the accuracy of the notebook."""
    figure = Figure(figsize=(8, 0.34 * len(runs) + 1.3), layout="constrained")
    axes = figure.subplots()
    for row, run in enumerate(runs):
        low, high = run["test"]["accuracy_interval"]
        colour = looks.colour(run["model"])
        axes.plot([low, high], [row, row], color=colour, linewidth=2.5, alpha=0.5)
        axes.plot(run["test"]["accuracy"], row, "o", color=colour)
        axes.text(high + 0.005, row, style.percent(run["test"]["accuracy"], 1), va="center")
    for model, reported in REPORTED.items():
        rows = [i for i, run in enumerate(runs) if run["model"] == model]
        axes.plot([reported] * 2, [rows[0] - 0.4, rows[-1] + 0.4], ":", color=style.INK)
    axes.set_yticks(range(len(runs)), [label(run) for run in runs])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(style.PERCENT)
    figure.suptitle("Test accuracy on CIFAR-100's animals and people, with 95 % intervals")
    axes.set_xlabel("dotted: what the reference notebook reported for the model")
    axes.grid(visible=False, axis="y")
    return figure


@style.styled
def draw_time(runs: Sequence[dict[str, Any]], bench: dict[str, Any], keras: Any) -> Figure:
    """Test accuracy against minutes, one point for each model, recipe and size.

    Args:
      runs: records of task 1.
      bench: results/bench.json.
      keras: of results/time_to_result.json, the runs of the notebook in Keras.
    """
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["model"], run["recipe"], run["config"]["image_size"]), []).append(
            run
        )
    times = {key: [minutes(run, bench) for run in own] for key, own in groups.items()}
    mean_times = {key: statistics.mean(time for time, _ in values) for key, values in times.items()}
    for (model, recipe, size), own in groups.items():
        time = mean_times[model, recipe, size]
        # The name stands on the left where a point of the same model and recipe follows closely.
        is_followed = any(
            key[:2] == (model, recipe) and time < other < _CLOSE * time
            for key, other in mean_times.items()
        )
        accuracy = statistics.mean(run["test"]["accuracy"] for run in own)
        _point(
            axes,
            (time, accuracy),
            own[0]["test"]["accuracy_interval"][1] - own[0]["test"]["accuracy"],
            colour=looks.colour(model),
            marker=MARKERS[recipe],
            hollow=any(scaled for _, scaled in times[model, recipe, size]),
            on_the_left=is_followed,
            text=f"{RECIPES[recipe]}, {size} px" + (f", {len(own)} seeds" if len(own) > 1 else ""),
        )
    best = statistics.mean(run["test_accuracy"] for run in keras)
    seconds = statistics.mean(run["wall_seconds"] for run in keras)
    _point(
        axes, (seconds / 60, best), 0, colour=style.GREY, marker="s", hollow=False,
        on_the_left=False, text="notebook's recipe in Keras, B0",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks([1, 2, 5, 10, 20, 40, 80], minor=False)
    axes.minorticks_off()
    axes.set_xlim(1.5, 160)
    axes.set_xlabel(
        "minutes on 2 CPU cores. Open: reckoned from a run on a slower machine or of older code"
    )
    axes.yaxis.set_major_formatter(style.PERCENT)
    figure.suptitle("Test accuracy on CIFAR-100's animals and people, by time")
    models = [Line2D([], [], color=looks.colour(m), lw=5, label=name) for m, name in MODELS.items()]
    axes.legend(handles=models, loc="lower right")
    return figure


def _point(
    axes: Axes,
    place: tuple[float, float],
    half: float,
    *,
    colour: str,
    marker: str,
    hollow: bool,
    on_the_left: bool,
    text: str,
) -> None:
    """One point with its 95 % interval and its name."""
    face = "white" if hollow else colour
    axes.errorbar(*place, yerr=half, color=colour, alpha=0.5, linewidth=2.5)
    axes.plot(*place, marker, color=colour, markerfacecolor=face, markersize=8)
    side, away = ("right", -9) if on_the_left else ("left", 9)
    axes.annotate(
        text, place, xytext=(away, 0), textcoords="offset points", va="center", ha=side, fontsize=8
    )


def minutes(run: dict[str, Any], bench: dict[str, Any]) -> tuple[float, bool]:
    """The minutes of a run on the bench's machine, and whether they had to be reckoned."""
    spent = sum(run["cost"]["seconds"].values()) / 60
    rates = [epoch["images_per_second"] for epoch in (run["training"] or {}).get("history", [])]
    rates = [rate for rate in rates if rate]
    config = run["config"]
    kind = "train, fixed BN" if config.get("frozen_bn", True) else "train, trained BN"
    size = config.get("train_size") or config["image_size"]
    known = {
        row["size"]: row["images_per_second"]
        for row in bench["results"]
        if (row["model"], row["kind"], row["peer"]) == (run["model"], kind, "cifsel")
    }
    if not rates or run["recipe"] not in ("finetune", "longer") or not known:
        return spent, False
    # Of a size that the bench does not have: as many pixels a second as of the next one.
    near = min(known, key=lambda other: abs(other - size))
    ratio = statistics.median(rates) / (known[near] * (near / size) ** 2)
    return (spent * ratio, True) if ratio < 0.8 else (spent, False)


def label(run: dict) -> str:
    """Label of a run, such as 'MobileNet V1, linear probe, 128 px, seed 0'."""
    size, seed = run["config"]["image_size"], run["config"]["seed"]
    return f"{MODELS[run['model']]}, {RECIPES[run['recipe']]}, {size} px, seed {seed}"


def main() -> None:
    """Reads the records and writes the picture."""
    arguments.Parser("experiments.plot_task1", __doc__).parse_args()
    command.start_terminal()
    command.guarded(draw_records)


def draw_records() -> None:
    """Draws all records of task 1."""
    runs = [json.loads(path.read_text()) for path in FOLDER.glob("*.json")]
    order = list(MODELS), list(MARKERS)
    runs.sort(
        key=lambda run: (
            order[0].index(run["model"]),
            order[1].index(run["recipe"]),
            run["config"]["image_size"],
            run["config"]["seed"],
        )
    )
    style.save(draw(runs), FOLDER / "accuracy.png")
    bench = json.loads((RESULTS / "bench.json").read_text())
    keras = json.loads((RESULTS / "time_to_result.json").read_text())["runs"]["Keras"]
    style.save(draw_time(runs, bench, keras), FOLDER / "time.png")


if __name__ == "__main__":
    main()
