"""Tables of the ablation, from its two records."""

from experiments import RESULTS, ablation
from experiments.tables.records import machine_lines


def tables(name: str) -> str:
    """The tables of both models from one record."""
    by_name = ablation.recorded(RESULTS / f"{name}.json")
    return "\n\n".join(ablation.table(by_name, model) for model in ablation.MODELS)


def page() -> str:
    """results/ablation.md."""
    return f"""# Ablation of the fine-tuning recipe

`python -m experiments.ablation --workdir=DIR` changes one thing at a time. The base is a short
version of the `:finetune` recipe: 96 px, 9,000 training images, 2 epochs, AdamW at 2e-4. It starts
from the probe and keeps batch norm frozen. Accuracy is that of the best epoch on 2,500 validation
images. No test image has a say. All runs have one seed, so intervals cover the choice of images
alone. [LOG.md](../LOG.md) has the conclusions.

## Runs with their images

[ablation.json](ablation.json) has the images that each run classified correctly. Gains and
intervals are paired on them.

{tables("ablation")}

Hardware, noted by hand:

{machine_lines("ablation")}

## First runs

[ablation-first.json](ablation-first.json) is of earlier code. The images were not recorded, so
gains are differences of two accuracies without an interval. LOG.md has the paired intervals that
were printed when the runs were made.

{tables("ablation-first")}

Hardware, noted by hand:

{machine_lines("ablation-first")}

Minutes of the two records cannot be compared, since machines, code and load differ.
"""
