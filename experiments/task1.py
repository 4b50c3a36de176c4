"""Runs all of task 1: trains MobileNet V1 and EfficientNetV2-B0, compares them, writes the report.

    python -m experiments.task1 --workdir=/tmp/task1 --seeds=3 --recipe=finetune

Task 1 is the classification of the animals and people of CIFAR-100. An interrupted run continues
with the same command. The report is /tmp/task1/report.html. Task 2, which tells own photos apart,
takes /tmp/task1 as --config.init_from. Fields of both configs can be changed:
--set=image_size=96,epochs=2.
"""

import ast
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import sweep
from cifsel.config import Parser, path
from cifsel.runtime import command
from configs import effnet, mobilenet


def configs(recipe: str, changes: Sequence[str]) -> list[ConfigDict]:
    """Configurations of both models.

    Args:
      recipe: recipe of both.
      changes: fields to set in both, as 'field=value'.

    Raises:
      UserError: a field does not exist or cannot have that value.
    """
    pairs = [change.partition("=") for change in changes]
    fields = {field: _literal(value) for field, _, value in pairs}
    return [config_lib.changed(model.get_config(recipe), fields) for model in (mobilenet, effnet)]


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value  # A word without quotes.


def main() -> None:
    """Parses the command line and runs task 1."""
    parser = Parser("experiments.task1", __doc__)
    add = parser.add_argument
    words = "folder for all runs and the report"
    add("--workdir", required=True, type=path, metavar="DIR", help=words)
    add("--seeds", type=int, default=3, metavar="N", help="seeds of each model, default: 3")
    add("--recipe", default="finetune", choices=effnet.RECIPES, help="default: finetune")
    add("--set", default="", metavar="FIELD=VALUE,...", help="fields to change in both configs")
    flags = parser.parse_args()
    if flags.seeds < 1:
        parser.error(f"--seeds is {flags.seeds}, expected 1 or more")
    changes = flags.set.split(",") if flags.set else []
    command.start()
    command.guarded(lambda: sweep.run(configs(flags.recipe, changes), flags.workdir, flags.seeds))


if __name__ == "__main__":
    main()
