"""Draws results/task1/accuracy.png from the records beside it.

    python -m experiments.plot_task1

Each record is the metrics.json of a run.
"""

import json

from matplotlib.figure import Figure

from cifsel.config import arguments
from cifsel.reports import looks, style
from cifsel.runtime import command
from experiments import RESULTS

FOLDER = RESULTS / "task1"
MODELS = {"efficientnetv2-b0": "EfficientNetV2-B0", "mobilenet": "MobileNet V1"}
RECIPES = {"notebook": "notebook's recipe", "probe": "linear probe", "finetune": "fine-tuned"}
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
    order = list(MODELS), list(RECIPES)
    runs.sort(
        key=lambda run: (
            order[0].index(run["model"]),
            order[1].index(run["recipe"]),
            run["config"]["image_size"],
            run["config"]["seed"],
        )
    )
    style.save(draw(runs), FOLDER / "accuracy.png")


if __name__ == "__main__":
    main()
