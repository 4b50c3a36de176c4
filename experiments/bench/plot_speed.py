"""Draws results/speed.png from results/bench.json and results/time_to_result.json.

python -m experiments.bench.plot_speed
"""

import json
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifsel.config import arguments
from cifsel.reports import looks, style
from cifsel.runtime import command
from experiments import RESULTS
from experiments.bench.entries import Entry, of, times_as_fast

MODELS = {"mobilenet": "MobileNet V1", "efficientnetv2-b0": "EfficientNetV2-B0"}
OURS, PEER = "cifsel", "keras-tensorflow"
KINDS = {
    "forward": "forward",
    "train, fixed BN": "train, fixed BN",
    "train, trained BN": "train, trained BN",
    "pipeline": "augment and resize",
}


def draw_ratios(axes: Axes, entries: list[Entry]) -> None:
    """Images per second as a multiple of the peer, a row per kind of work, model and size.

    Lines go from the slowest to the fastest pair of processes.
    """
    by_work = {(entry.kind, entry.model, entry.size, entry.peer): entry for entry in entries}
    # The pipeline does not depend on the model.
    keys = [
        key
        for kind in KINDS
        for key in by_work
        if key[0] == kind and key[3] == OURS and (kind != "pipeline" or key[1] == "mobilenet")
        if (*key[:3], PEER) in by_work
    ]
    for row, (kind, model, size, _) in enumerate(keys):
        ours, other = (by_work[kind, model, size, peer] for peer in (OURS, PEER))
        ratio, low, high = times_as_fast(ours, other)
        colour = style.GREY if kind == "pipeline" else looks.colour(model)
        axes.barh(row, ratio, color=colour)
        axes.plot((low, high), (row, row), color=style.INK, linewidth=1)
        axes.text(max(1.0, high) + 0.02, row, f"{ratio:.2f}", va="center")
    names = [
        f"{KINDS[kind]}, {MODELS[model] + ', ' if kind != 'pipeline' else ''}{size} px"
        for kind, model, size, _ in keys
    ]
    axes.set_yticks(range(len(keys)), names)
    axes.invert_yaxis()
    axes.axvline(1.0, color=style.INK, linewidth=1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("lines: from the slowest to the fastest pair of processes")
    axes.set_title("Images per second, as a multiple of Keras on TensorFlow")


def draw_times(axes: Axes, runs: dict[str, list[dict[str, Any]]]) -> None:
    """Seconds from the command to the result, a bar per kind of run."""
    labels = {
        "Keras": "the notebook's procedure in Keras",
        "first run": "cifsel, nothing cached",
        "next run": "cifsel, from then on",
    }
    for row, (kind, label) in enumerate(labels.items()):
        mean = sum(run["wall_seconds"] for run in runs[kind]) / len(runs[kind])
        colour = style.GREY if kind == "Keras" else looks.colour("efficientnetv2-b0")
        axes.barh(row, mean, color=colour)
        text = f" {label}: {mean:.0f} s, {style.percent(runs[kind][0]['test_accuracy'], 1)}"
        inside = kind == "Keras"
        axes.text(0 if inside else mean, row, text, va="center", color="white" if inside else None)
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.set_title("Seconds from the command to the result, B0; test accuracy")


@style.styled
def draw(bench: dict[str, Any], times: dict[str, Any]) -> Figure:
    """Both panels."""
    figure = Figure(figsize=(8, 7.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(5, 1))
    draw_ratios(upper, of(bench))
    draw_times(lower, times["runs"])
    figure.suptitle(f"Two cores of {bench['machine']['processor']}")
    return figure


def main() -> None:
    """Reads both records and writes the picture."""
    arguments.Parser("experiments.bench.plot_speed", __doc__).parse_args()
    command.start_terminal()
    command.guarded(draw_records)


def draw_records() -> None:
    """Draws the records of both benchmarks."""
    bench, times = (
        json.loads((RESULTS / name).read_text()) for name in ("bench.json", "time_to_result.json")
    )
    style.save(draw(bench, times), RESULTS / "speed.png")


if __name__ == "__main__":
    main()
