"""The whole of task 1 in one command: train both models, compare them, write the report.

    python -m experiments.task1 --workdir=/tmp/task1 --seeds=3 --recipe=finetune

Interrupted at any point, the same command goes on from there. The report is /tmp/task1/report.html,
and /tmp/task1 is what task 2 takes as --config.init_from. Fields of both configs can be changed:
--set=image_size=96,epochs=2.
"""

import ast
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import sweep
from cifsel.config import arguments
from cifsel.runtime import command
from configs import effnet, mobilenet


def configs(recipe: str, changes: Sequence[str]) -> list[ConfigDict]:
    """Both models' configurations.

    Args:
      recipe: of both.
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
    """Trains, compares, and reports."""
    made = arguments.Parser("experiments.task1", __doc__)
    add = made.add_argument
    add("--workdir", required=True, metavar="DIR", help="gets every run and the report")
    add("--seeds", type=int, default=3, metavar="N", help="of each model; 3 if not given")
    add("--recipe", default="finetune", choices=effnet.RECIPES, help="finetune if not given")
    add("--set", default="", metavar="FIELD=VALUE,...", help="fields to change in both configs")
    flags = made.parse_args()
    if flags.seeds < 1:
        made.error(f"--seeds is {flags.seeds}; expected 1 or more")
    changes = flags.set.split(",") if flags.set else []
    command.start()
    command.guarded(lambda: sweep.run(configs(flags.recipe, changes), flags.workdir, flags.seeds))


if __name__ == "__main__":
    main()
