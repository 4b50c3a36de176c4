"""The flag --config of the commands that take one: its help, one line for what is wrong with it."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from absl import flags
from ml_collections import config_flags

from cifsel.config import command_line
from cifsel.config import loading as config_lib
from cifsel.errors import UserError
from cifsel.runtime import command

# Configs import configs.common, from whichever folder the command is given in.
_ROOT = Path(__file__).parents[2]
sys.path.append(str(_ROOT))
# absl's own --help says nothing of --config; its --helpfull has pages of other libraries' flags.
_HELP = {"-h", "-help", "--help", "--helpshort"}

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "What to run, such as configs/effnet.py or, with a recipe, configs/effnet.py:probe; change any"
    " field with --config.FIELD=VALUE. configs/common.py lists the fields of task 1,"
    " configs/selfie.py those of task 2; with --help beside it, those of this config.",
)


def parse_flags(argv: Sequence[str]) -> Sequence[str]:
    """Parses the command line; what is wrong with it becomes one line."""
    if "--helpfull" in argv:
        return flags.FLAGS(argv)  # Says it, and ends the process.
    asked, argv = bool(_HELP & set(argv)), [word for word in argv if word not in _HELP]
    files = [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]
    files += [after for word, after in itertools.pairwise(argv) if word == "--config"]
    if not files:
        if asked:
            _show_help()
        command.stop("--config is missing: give --config=configs/effnet.py, for example")
    try:
        config_lib.check_file(files[-1])
        rest = flags.FLAGS(argv)
        CONFIG.value.lock()  # A file that could not be read says so only when it is used.
    except UserError as error:
        command.stop(str(error))
    except (Exception, SystemExit) as error:
        try:  # Of its own, without the other flags.
            config = config_lib.load(files[-1])
        except UserError as own:
            command.stop(str(own))
        command.stop(config_lib.explain(error, config))
    if asked:
        _show_help(files[-1])
    return rest


def _show_help(given: str = "") -> NoReturn:
    """Prints what the command does, its flags, and the fields of the config that was given."""
    main, listed = sys.modules["__main__"], ""
    if given:
        config, file = CONFIG.value, given.partition(":")[0]
        base = _ROOT / "configs" / ("selfie.py" if config.get("task") == "selfie" else "common.py")
        meanings: dict[str, str] = {}
        for path in (base, Path(file)):
            meanings |= (
                command_line.comments(path.read_text(errors="replace")) if path.is_file() else {}
            )
        listed = (
            f"fields of {given}, for --config.FIELD=VALUE:\n{command_line.fields(config, meanings)}"
        )
    name = main.__spec__.name.removesuffix(".__main__") if main.__spec__ else "cifsel.main"
    shown = command_line.Parser(name, main.__doc__, listed)
    for flag in (flags.FLAGS["config"], *flags.FLAGS.get_key_flags_for_module(sys.argv[0])):
        said = flag.help + (f" Default: {flag.default}." if flag.default else "")
        shown.add_argument(f"--{flag.name}", help=" ".join(said.split()).replace("%", "%%"))
    shown.print_help()
    sys.exit(0)
