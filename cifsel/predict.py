"""Says of photos which class they show, and how probable that is.

    python -m cifsel.predict --checkpoint=/tmp/selfie photo.jpg more_photos/ --json
    python -m cifsel.predict --checkpoint=/tmp/task1 'holiday/*.jpg' --explain=/tmp/seen

With a model of a person's own photos it says "unsure" where an answer is not reliable. Photos may
be files, folders, zips and patterns such as 'holiday/*.jpg'. '-' reads paths from standard input,
one a line. Nothing is written or sent anywhere unless asked for. Exit codes: 0 done, 1 a defect of
the program, 2 a photo, the checkpoint or the machine cannot be used, 75 try again, 130 Ctrl-C, 141
nobody reads the output.
"""

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from cifsel.config import arguments
from cifsel.data.photos import search
from cifsel.errors import UserError
from cifsel.runtime import command, remote, terminal
from cifsel.runtime.failures import Advice
from cifsel.runtime.terminal import count

if TYPE_CHECKING:
    from cifsel.prediction.answers import Answer
    from cifsel.prediction.predictor import Predictor

ADVICE = Advice(
    again="give the same command again",
    memory="close other programs, or use a machine with more memory",
    stopped="",
)
_NAME_WIDTH = 100  # characters of the column of names, at most


def run(flags: argparse.Namespace) -> None:
    """Finds the photos, answers for each, and prints the answers."""
    with contextlib.ExitStack() as stack:
        items = search.find_photos(_paths(flags.photos), stack)
        if not items:
            raise UserError("no photos: standard input is empty; expected a path in each line")
        if not flags.skip_unreadable:
            _refuse([(item.photo, _missing(item)) for item in items])
        # From here on with JAX, for which a mistyped path should not wait.
        from cifsel.prediction import answers, coverage, formats

        predictor = _load(flags.checkpoint)
        if flags.coverage is not None:
            predictor = coverage.with_sets(predictor, flags.checkpoint, flags.coverage)
        given: Iterable[Answer] = answers.answer_photos(
            items, predictor, skip=flags.skip_unreadable, explain=flags.explain
        )
        given = _warned(given) if flags.skip_unreadable else _complete(given)
        if flags.json:
            terminal.answer(formats.as_json(given, predictor))
            return
        width = min(max(len(item.file.name) for item in items), _NAME_WIDTH)
        as_csv, as_text = formats.as_csv, functools.partial(formats.as_text, width=width)
        for line in (as_csv if flags.csv else as_text)(given, predictor):
            terminal.answer(line)


def _paths(given: Sequence[str]) -> Iterator[str]:
    """Yields the paths of the command line, and those of standard input in the place of '-'."""
    for path in given:
        if path == "-":
            if terminal.is_closed("stdin"):
                raise UserError("standard input is closed; expected a path in each line")
            yield from filter(None, (line.rstrip("\r\n") for line in sys.stdin))
        else:
            yield path


def _missing(item: search.Item) -> str:
    """Says that a photo is not there, '' if it is. Does not open it."""
    if remote.is_remote(item.file.path):
        return item.file.problem  # The search has asked gs:// already.
    return "" if os.path.lexists(item.file.path) else "no such file"


def _complete(answers: "Iterable[Answer]") -> "list[Answer]":
    """The answers, if there is one for every photo.

    Raises:
      UserError: some photos have a problem. Each is named on standard error.
    """
    listed = list(answers)
    _refuse([(answer.photo, answer.problem) for answer in listed])
    return listed


def _refuse(problems: Sequence[tuple[str, str]]) -> None:
    """Raises UserError if a photo has a problem, after naming each on standard error."""
    bad = [(photo, problem) for photo, problem in problems if problem]
    for photo, problem in bad:
        terminal.warn(f"{photo}: {problem}")
    if bad:
        raise UserError(
            f"{len(bad)} of {count(len(problems), 'photo')} cannot be used: leave them out, or give"
            " --skip-unreadable"
        )


def _warned(answers: "Iterable[Answer]") -> "Iterator[Answer]":
    """Yields the answers as they come, and names each photo that has none on standard error."""
    for answer in answers:
        if answer.problem:
            terminal.warn(f"{answer.photo}: {answer.problem}")
        yield answer


def _load(checkpoint: str) -> "Predictor":
    from cifsel.prediction import predictor
    from cifsel.runtime import cache, libtpu

    libtpu.quiet()
    cache.keep_compiled()  # Compiling takes half of the time until the first answer.
    return predictor.load(checkpoint)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = arguments.Parser("cifsel.predict", __doc__)
    add = made.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="file, folder, zip, pattern, or '-'")
    add(
        "--checkpoint",
        required=True,
        type=arguments.path,
        metavar="DIR",
        help="workdir of a run, or a comparison",
    )
    words = (
        "answer with the smallest set of classes that holds the true one for this share of images,"
        " such as 0.9"
    )
    add("--coverage", type=float, metavar="SHARE", help=words)
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print an array of objects")
    form.add_argument("--csv", action="store_true", help="print a table with a header")
    words = "write there what each answer was seen in"
    add("--explain", default="", type=arguments.path, metavar="DIR", help=words)
    add("--skip-unreadable", action="store_true", help="answer for the other photos")
    return made


def main() -> None:
    """Parses the command line, and turns what can go wrong into one line and an exit code."""
    flags = parser().parse_args()
    command.start_terminal()
    command.guarded(lambda: run(flags), ADVICE)


if __name__ == "__main__":
    main()
