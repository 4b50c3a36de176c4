"""The whole of task 1 in one command: train both models, compare them, write the report.

    python -m experiments.task1 --workdir=/tmp/task1 --seeds=3 --recipe=finetune

Interrupted at any point, the same command goes on from there. The report is /tmp/task1/report.html,
and /tmp/task1 is what task 2 takes as --config.init_from. Fields of both configs can be changed:
--set=image_size=96,epochs=2.
"""

import ast
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from cifsel import command, task1
from cifsel import config as config_lib
from configs import effnet, mobilenet

FLAGS = flags.FLAGS
_WORKDIR = flags.DEFINE_string("workdir", None, "Gets every run and the report.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many seeds of each model.", lower_bound=1)
_RECIPE = flags.DEFINE_enum("recipe", "finetune", effnet.RECIPES, "Recipe of both models.")
_SET = flags.DEFINE_list("set", [], "Fields to change in both configs, as field=value.")


def configs() -> list[ConfigDict]:
    """Both models' configurations.

    Raises:
      UserError: a field does not exist or cannot have that value.
    """
    pairs = [change.partition("=") for change in _SET.value]
    fields = {field: _literal(value) for field, _, value in pairs}
    return [
        config_lib.changed(model.get_config(_RECIPE.value), fields) for model in (mobilenet, effnet)
    ]


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value  # A word without quotes.


def main(_: list[str]) -> None:
    """Trains, compares, and reports."""
    command.start()
    command.guarded(lambda: task1.run(configs(), _WORKDIR.value, _SEEDS.value))


if __name__ == "__main__":
    app.run(main)
