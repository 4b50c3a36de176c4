"""The flag --config: parsing, its --help, and one line about a mistake in it."""

import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from cifsel.config.arguments import Parser
from cifsel.config.changes import expand_paths
from cifsel.config.files import find, listed, load
from cifsel.config.help import field_list
from cifsel.config.schema import flatten
from cifsel.config.similar import did_you_mean
from cifsel.config.validation import (
    bad_value,
    schema_of,
    unknown_field,
    wrong_value,
)
from cifsel.errors import UserError, one_line
from cifsel.runtime import command

# absl's own --help does not mention --config, and --helpfull has pages of other libraries' flags.
_HELP = {"-h", "-help", "--help", "--helpshort"}

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "What to run, such as configs/effnet.py or, with a recipe, configs/effnet.py:probe. Change any"
    " field with --config.FIELD=VALUE. With --help beside a config, its fields are listed.",
)


def parse_flags(argv: Sequence[str]) -> Sequence[str]:
    """Parses the command line. A mistake ends the process with one line and status 2.

    Returns:
      The arguments that are no flags, after the name of the program.
    """
    if "--helpfull" in argv:
        return flags.FLAGS(argv)  # Prints the help and ends the process.
    wants_help = not _HELP.isdisjoint(argv)
    argv = [word for word in argv if word not in _HELP]
    if (file := _config_file(argv)) is None:
        if wants_help:
            _print_help()
        command.stop(
            f"--config is missing: give --config=configs/effnet.py, or another of {listed()}"
        )
    try:
        positional = flags.FLAGS(_with_path(argv, find(file).argument))
        config = CONFIG.value
        config.lock()  # A file that could not be run only raises when the config is used.
        expand_paths(config)
        if wants_help:
            fields = field_list(schema_of(config), flatten(config))
            _print_help(f"fields of {file}, for --config.FIELD=VALUE:\n{fields}")
    except UserError as error:
        command.stop(str(error))
    except Exception as error:
        command.stop(_mistake(error, file, argv))
    return positional


def _config_file(argv: Sequence[str]) -> str | None:
    """The last value of --config, which may be written as one word or two."""
    files = [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]
    files += [after for word, after in itertools.pairwise(argv) if word == "--config"]
    return files[-1] if files else None


def _with_path(argv: Sequence[str], path: str) -> list[str]:
    """The command line with the path of the config file, which it may give by a name."""
    changed = []
    for before, word in itertools.pairwise(["", *argv]):
        is_file = word.startswith("--config=")
        changed.append(f"--config={path}" if is_file else path if before == "--config" else word)
    return changed


def _mistake(error: Exception, file: str, argv: Iterable[str]) -> str:
    """One line about the mistake that made parsing fail with this error."""
    try:
        config = load(file)  # Without the other flags, to see whether the file itself is wrong.
        for word in argv:
            # --config.FIELD=VALUE or --config.FIELD[INDEX]=VALUE
            override = re.match(r"--config\.([^=]+?)(\[\d+\])*(=|$)", word)
            if override and not _is_known(override[1], config):
                return str(unknown_field(override[1], flatten(config)))
        if isinstance(error, flags.UnrecognizedFlagError):
            return unknown_flag(error.flagname, config)
        # The message of absl begins with the flag that it could not parse.
        failed = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
        if failed and (field := schema_of(config).fields.get(failed[1])):
            return str(wrong_value(field, failed[2]))
        if failed and failed[1] in config:  # A group of fields.
            example = next(name for name in flatten(config) if name.startswith(f"{failed[1]}."))
            return str(
                bad_value(failed[1], failed[2], f"one of its fields, --config.{example}=...")
            )
    except UserError as mistake:
        return str(mistake)
    return one_line(error)


def unknown_flag(name: str, config: ConfigDict) -> str:
    """One line about a flag that there is not. It may be meant to be a field of the config."""
    known = [flag.name for flag in _flags()] + [f"config.{field}" for field in flatten(config)]
    return f"no flag --{name}{did_you_mean(name, [f'--{flag}' for flag in known])}"


def _flags() -> list[flags.Flag]:
    """The flags of the command."""
    return [flags.FLAGS["config"], *flags.FLAGS.get_key_flags_for_module(sys.argv[0])]


def _is_known(name: str, config: ConfigDict) -> bool:
    """Whether a field, or a nested config, has this name."""
    return any(known == name or known.startswith(f"{name}.") for known in flatten(config))


def _print_help(fields: str = "") -> NoReturn:
    """Prints what the command does, its flags, and fields of a config, and ends the process."""
    main = sys.modules["__main__"]
    name = main.__spec__.name.removesuffix(".__main__") if main.__spec__ else "cifsel.main"
    parser = Parser(name, main.__doc__, fields)
    for flag in _flags():
        text = flag.help + (f" Default: {flag.default}." if flag.default else "")
        parser.add_argument(f"--{flag.name}", help=" ".join(text.split()).replace("%", "%%"))
    parser.print_help()
    sys.exit(0)
