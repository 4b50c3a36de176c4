"""Says of photos which class they show, and how probable that is.

    python -m cifsel.predict --checkpoint=/tmp/selfie photo.jpg more_photos/ photos.zip --json
    python -m cifsel.predict --checkpoint=/tmp/task1 'holiday/*.jpg' --explain=/tmp/seen

With a model of own photos it says "unsure" where an answer is not reliable. '-' reads paths from
standard input. Nothing is sent anywhere. Exit codes: 0 done, 1 a defect of the program, 2 a photo,
the checkpoint or the machine cannot be used, 75 try again, 130 Ctrl-C, 141 nobody reads the output.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cifsel.config import arguments
from cifsel.errors import UserError
from cifsel.prediction import published
from cifsel.runtime import command, terminal
from cifsel.runtime.failures import Advice
from cifsel.runtime.terminal import count

if TYPE_CHECKING:
    from cifsel.data.photos.search import Item
    from cifsel.prediction.answer_file import AnswerFile
    from cifsel.prediction.answers import Answer
    from cifsel.prediction.predictor import Predictor

ADVICE = Advice(
    again="give the same command again",
    memory="close other programs, or use a machine with more memory",
    stopped="",
)
# As in `cifsel.prediction.engines`, which imports JAX. A test compares the two.
RUNTIMES = ("auto", "jax", "openvino", "onnxruntime")
_NAME_WIDTH = 100  # characters of the column of names, at most


class Shard(NamedTuple):
    """One of `total` parts of the photos, counted from 1: every `total`-th photo."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def run(flags: argparse.Namespace) -> None:
    """Finds the photos, answers for each, and prints the answers or writes them to a file."""
    from cifsel.data.photos import search  # NumPy and Pillow, for which --help does not wait.

    form = _form(flags)
    with contextlib.ExitStack() as stack:
        items = search.find_photos(_paths(flags.photos), stack)
        if not items:
            raise UserError("no photos: standard input is empty; expected a path in each line")
        if flags.shard:
            items = items[flags.shard.number - 1 :: flags.shard.total]
        if not flags.skip_unreadable:
            _refuse([(item.photo, _missing(item)) for item in items])
        # From here on with JAX, for which a mistyped path should not wait.
        from cifsel.prediction import answer_file, coverage, formats

        file = None
        if flags.output and form == formats.JSON:
            answer_file.check_new(flags.output, "give another --output, or delete it")
        elif flags.output:
            file = answer_file.AnswerFile(flags.output, form, resume=flags.resume)
            if file.is_finished():
                # A CSV file has no lines of photos that were skipped.
                file.check_complete([] if flags.csv and flags.skip_unreadable else items)
                terminal.say(f"{file.path} is finished: nothing to do")
                return
        predictor = _load(flags.checkpoint, flags.runtime, len(items))
        if flags.coverage is not None:
            predictor = coverage.with_sets(predictor, flags.checkpoint, flags.coverage)
        if file:
            _write_lines(file, items, predictor, flags)
        else:
            _print(items, predictor, flags)


def _form(flags: argparse.Namespace) -> str:
    """The form of the answers: 'json', 'jsonl', 'csv' or 'text'.

    Raises:
      UserError: flags do not fit together.
    """
    form = next((name for name in ("json", "jsonl", "csv") if getattr(flags, name)), "text")
    if flags.output and form == "text":
        raise UserError("--output is given without a form: add --jsonl, --csv or --json")
    if flags.resume and not (flags.output and form in ("jsonl", "csv")):
        raise UserError("--resume needs --output=FILE, and --jsonl or --csv")
    if flags.resume and flags.explain:
        # The pictures are numbered where photos have the same name.
        raise UserError("--resume might replace pictures of --explain: leave out one of them")
    return form


def _print(items: list["Item"], predictor: "Predictor", flags: argparse.Namespace) -> None:
    """Prints the answers, or writes the JSON file."""
    from etils import epath

    from cifsel import workdir
    from cifsel.prediction import formats

    width = min(max((len(item.file.name) for item in items), default=0), _NAME_WIDTH)
    as_text = functools.partial(formats.as_text, width=width)
    as_lines = formats.as_jsonl if flags.jsonl else formats.as_csv if flags.csv else as_text
    with _answering(items, predictor, flags) as given:
        if flags.jsonl or flags.csv or (flags.skip_unreadable and not flags.json):
            for line in as_lines(given, predictor):
                terminal.answer(line)
            return
        # A table or array of some of the photos would look complete.
        answers = list(given)
    if not flags.json:
        terminal.answer("\n".join(as_text(answers, predictor)))
    elif flags.output:
        content = f"{formats.as_json(answers, predictor)}\n"
        workdir.write_bytes(epath.Path(flags.output), content.encode())
        terminal.say(f"{count(len(answers), 'photo')} answered in {flags.output}")
    else:
        terminal.answer(formats.as_json(answers, predictor))


def _write_lines(
    file: "AnswerFile",
    items: list["Item"],
    predictor: "Predictor",
    flags: argparse.Namespace,
) -> None:
    """Writes the answers that a file does not have yet, as they come."""
    from cifsel.prediction import answer_file, formats

    shard = str(flags.shard or "")
    missing = file.missing(items)
    job = answer_file.Job(predictor.digest, _form(flags), flags.coverage, shard, predictor.runtime)
    if len(missing) < len(items):
        done = f"{len(items) - len(missing):,} of {count(len(items), 'photo')}"
        terminal.say(f"{done} answered already in {file.path}")
    with file.writing(job) as is_empty, _answering(missing, predictor, flags) as given:
        if flags.csv:
            lines = formats.as_csv(given, predictor, header=is_empty)
        else:
            lines = formats.as_jsonl(given, predictor)
        for line in lines:
            file.write(line)
    terminal.say(f"{count(len(items), 'photo')} answered in {file.path}")


@contextlib.contextmanager
def _answering(
    items: list["Item"], predictor: "Predictor", flags: argparse.Namespace
) -> "Iterator[Iterator[Answer]]":
    """Gives the answers as they come."""
    from cifsel.prediction.answering import answering

    skip = flags.skip_unreadable
    with answering(items, predictor, skip=skip, explain=flags.explain) as given:
        yield (_warned if skip else _until_a_problem)(given, len(items))


def _paths(given: Sequence[str]) -> Iterator[str]:
    """Yields the paths of the command line, and those of standard input in the place of '-'."""
    for path in given:
        if path == "-":
            if terminal.is_closed("stdin"):
                raise UserError("standard input is closed; expected a path in each line")
            yield from filter(None, (line.rstrip("\r\n") for line in sys.stdin))
        else:
            yield path


def _missing(item: "Item") -> str:
    """Says that a photo is not there, '' if it is. Does not open it."""
    from cifsel.runtime import remote

    if remote.is_remote(item.file.path):
        return item.file.problem  # The search has asked gs:// already.
    return "" if os.path.lexists(item.file.path) else "no such file"


def _refuse(problems: Sequence[tuple[str, str]]) -> None:
    """Raises UserError if a photo has a problem, after naming each on standard error."""
    bad = [(photo, problem) for photo, problem in problems if problem]
    for photo, problem in bad:
        terminal.warn(f"{photo}: {problem}")
    _refuse_count(len(bad), len(problems))


def _refuse_count(bad: int, total: int) -> None:
    if bad:
        raise UserError(
            f"{bad} of {count(total, 'photo')} cannot be used: leave them out, or give"
            " --skip-unreadable"
        )


def _until_a_problem(answers: "Iterable[Answer]", total: int) -> "Iterator[Answer]":
    """Yields the answers as they come, until a photo has none. The others are only checked.

    Raises:
      UserError: some photos have a problem. Each is named on standard error.
    """
    bad = 0
    for answer in answers:
        if answer.problem:
            terminal.warn(f"{answer.photo}: {answer.problem}")
            bad += 1
        elif not bad:
            yield answer
    _refuse_count(bad, total)


def _warned(answers: "Iterable[Answer]", _: int) -> "Iterator[Answer]":
    """Yields the answers as they come, and names each photo that has none on standard error."""
    for answer in answers:
        if answer.problem:
            terminal.warn(f"{answer.photo}: {answer.problem}")
        yield answer


def _load(checkpoint: str, runtime: str, answers: int) -> "Predictor":
    from cifsel.prediction import engines
    from cifsel.runtime import cache, libtpu

    if checkpoint == published.path():
        terminal.say(f"the model is {checkpoint}")
    libtpu.quiet()
    cache.keep_compiled()  # Compiling takes half of the time until the first answer.
    return engines.load(checkpoint, runtime, answers)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = arguments.Parser("cifsel.predict", __doc__)
    add = made.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="file, folder, zip, pattern, or '-'")
    made.add_checkpoint(required=False, more=". Default: cifsel's own model")
    words = "answer with sets of classes that hold the true one for this share of images"
    add("--coverage", type=float, metavar="SHARE", help=words)
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print an array of objects")
    form.add_argument("--jsonl", action="store_true", help="print an object a line, as they come")
    form.add_argument("--csv", action="store_true", help="print a table with a header")
    words = "write the answers there instead of printing them"
    add("--output", default="", type=arguments.path, metavar="FILE", help=words)
    words = "go on with --output after an interruption"
    add("--resume", action="store_true", help=words)
    words = "answer for a part of the photos, 3/16 for the third of 16"
    add("--shard", type=shard, metavar="PART", help=words)
    words = "write there what each answer was seen in"
    add("--explain", default="", type=arguments.path, metavar="DIR", help=words)
    words = f"what computes: {', '.join(RUNTIMES)}"
    add("--runtime", default="auto", choices=RUNTIMES, metavar="NAME", help=words)
    add("--skip-unreadable", action="store_true", help="answer for the other photos")
    return made


def parse() -> argparse.Namespace:
    """Parses the command line. The model that cifsel comes with takes the place of no model."""
    made = parser()
    flags = made.parse_args()
    if flags.checkpoint is None:
        flags.checkpoint = published.path()
        if not flags.checkpoint:
            made.error("the following arguments are required: --checkpoint")
    return flags


def shard(given: str) -> Shard:
    """Type of --shard. Raises ArgumentTypeError unless it is such as 3/16."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", given, re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(
            f"{given!r}: give the number of the part and how many there are, such as 3/16"
        )
    return Shard(int(match[1]), int(match[2]))


def main() -> None:
    """Parses the command line, and turns what can go wrong into one line and an exit code."""
    flags = parse()
    command.start_terminal()
    advice = ADVICE
    if flags.output and (flags.jsonl or flags.csv):
        again = "give the same command with --resume, which goes on from here"
        advice = dataclasses.replace(ADVICE, again=again, stopped=f"stopped; {again}")
    command.guarded(lambda: run(flags), advice)


if __name__ == "__main__":
    main()
