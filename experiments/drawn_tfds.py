r"""Writes drawn images as a set of tfds in the layout of CIFAR-10, by tfds's own writer.

    python -m experiments.drawn_tfds --output=/tmp/tfds
    python -m experiments.own_images --dataset=tfds:drawn10 --data_dir=/tmp/tfds \
        --recipes=probe --image_size=64 --workdir=/tmp/drawn10 --record=drawn10

The set has ten of the drawn classes, with 100 training and 50 test images of 32 pixels each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from cifsel.config import Parser, local_path
from cifsel.data import drawn_images
from cifsel.data.splits import Split
from cifsel.errors import UserError
from cifsel.runtime import command

CLASSES = 10


def write(folder: Path) -> None:
    """Writes the set to the sub-folder drawn10.

    Raises:
      UserError: it is there already.
    """
    if (folder / "drawn10").exists():
        raise UserError(f"{folder / 'drawn10'} is there already: delete it, or give another folder")
    drawn = drawn_images.draw_classes(
        train_per_class=100, val_per_class=1, test_per_class=50, seed=0
    )
    names = drawn.class_names[:: len(drawn.class_names) // CLASSES]

    def examples(split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        for image, label, number in zip(
            np.asarray(split.images), split.labels, split.ids, strict=True
        ):
            if (name := drawn.class_names[label]) in names:
                yield int(number), {"id": f"{number}", "image": image, "label": name}

    features = {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(32, 32, 3)),
        "label": tfds.features.ClassLabel(names=names),
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="drawn10",
        version="1.0.0",
        data_dir=str(folder),
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": examples(drawn.train), "test": examples(drawn.test)},
    )


def main() -> None:
    """Parses the command line and writes the set."""
    parser = Parser("experiments.drawn_tfds", __doc__)
    add = parser.add_argument
    add("--output", required=True, type=local_path, metavar="DIR", help="folder for the set")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: write(flags.output))


if __name__ == "__main__":
    main()
