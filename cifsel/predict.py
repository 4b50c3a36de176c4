"""Says of photos which class they show, and how probable that is.

    python -m cifsel.predict --checkpoint=/tmp/selfie photo.jpg more_photos/ --json
    python -m cifsel.predict --checkpoint=/tmp/task1 'holiday/*.jpg' --explain=/tmp/seen

Of a person's own photos also where the model had better not be believed ("unsure"). Photos may be
files, folders, zips and patterns such as 'holiday/*.jpg'; '-' reads paths from standard input, one
a line. Nothing is written unless asked for, and photos go nowhere.
"""

# JAX is imported where it is needed: who has mistyped a path should not wait for it.
import argparse
import contextlib
import csv
import dataclasses
import io
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cifsel.config import arguments
from cifsel.data.photos import files, search
from cifsel.data.photos.decoding import decode
from cifsel.errors import UserError, printable
from cifsel.runtime import remote
from cifsel.runtime.remote import AnyPath

if TYPE_CHECKING:
    from cifsel.prediction.predictor import Predictor

# Exit statuses: as cifsel.command has them, and what a shell says of a program at a closed pipe.
BAD_INPUT, INTERRUPTED, CLOSED_PIPE = 2, 130, 141
# Of 50 classes, those that are worth a look.
TOP = 5
_NAME_WIDTH, _STEM_LENGTH = 100, 48  # characters


@dataclasses.dataclass(frozen=True)
class Answer:
    """What became of a photo: probabilities (K,) float64, or a problem, why there are none."""

    photo: str
    probabilities: np.ndarray
    problem: str = ""


def answers(
    items: Sequence[search.Item], predictor: "Predictor", *, skip: bool, explain: str = ""
) -> Iterator[Answer]:
    """Yields an answer for each photo, in order; holds no more than a batch of them decoded.

    Args:
      items: photos.
      predictor: who answers.
      skip: answer for other photos when one has a problem, rather than only look for more of them.
      explain: a folder that gets a picture of the evidence for each answer; '' for none.

    Raises:
      UserError: the folder cannot be written, or photos that are to be explained are in it.
    """
    from cifsel.prediction.predictor import batch_size

    pictures = _picture_paths(items, explain) if explain else []
    nothing, failed = np.empty(0), False
    for start in range(0, len(items), batch_size()):
        chunk = items[start : start + batch_size()]
        shown, problems = _shown(chunk, predictor)
        failed = failed or any(problems)
        probabilities = np.empty((len(shown), 0))
        if shown and (skip or not failed):
            probabilities = predictor.probabilities(np.stack(shown))
            if explain:
                usable = (not problem for problem in problems)
                paths = itertools.compress(pictures[start:], usable)
                _draw(predictor.explain(np.stack(shown), probabilities.argmax(1)), paths)
        answered = iter(probabilities)
        for item, problem in zip(chunk, problems, strict=True):
            yield Answer(item.photo, nothing if problem else next(answered), problem)


def _shown(
    items: Sequence[search.Item], predictor: "Predictor"
) -> tuple[list[np.ndarray], list[str]]:
    """What the model is shown of those that it can be, and the problem of each, '' for none."""
    from cifsel.prediction.predictor import NoFaceError

    shown, problems = [], []
    for item in items:
        name, problem = item.file.name, ""
        try:
            pixels = decode(files.content(item.file), name).pixels
        except UserError as error:
            problem = search.reason(error, name)
        else:
            try:
                shown.append(predictor.show([pixels], [name])[0])
            except NoFaceError as error:
                problem = search.reason(error, name)
        problems.append(problem)
    return shown, problems


def _picture_paths(items: Sequence[search.Item], explain: str) -> list[AnyPath]:
    """A file for each photo, none of the same name, not even where case does not count."""
    from etils import epath

    from cifsel import workdir

    folder = remote.path(explain)
    workdir.make(epath.Path(folder), "explain")
    if any(_resolved(item.file.path.parent) == _resolved(folder) for item in items):
        raise UserError(
            f"explain {folder} has photos in it that are to be explained, which could be"
            " overwritten: give another --explain"
        )
    taken: set[str] = set()
    paths = []
    for item in items:
        stem = printable(Path(item.photo).stem).replace("\\", "_")[:_STEM_LENGTH]
        numbered = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
        name = next(name for name in numbered if name.casefold() not in taken)
        taken.add(name.casefold())
        paths.append(folder / f"{name}.png")
    return paths


def _resolved(path: AnyPath) -> AnyPath:
    return path if remote.is_remote(path) else path.resolve()


def _draw(pictures: np.ndarray, paths: Iterable[AnyPath]) -> None:
    from etils import epath

    from cifsel import workdir

    for picture, path in zip(pictures, paths, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        workdir.write_bytes(epath.Path(path), buffer.getvalue())


def all_or_none(found: Iterable[Answer]) -> list[Answer]:
    """Answers, if there is one for every photo; else names those that have none.

    Raises:
      UserError: some have a problem; it is on standard error.
    """
    listed = list(found)
    if count := sum(map(_complain, listed)):
        raise UserError(
            f"{count} of {len(listed)} photos cannot be used: leave them out, or give"
            " --skip-unreadable"
        )
    return listed


def _told(found: Iterable[Answer]) -> Iterator[Answer]:
    """The same, as they come, with what is wrong with some said on the way."""
    for answer in found:
        _complain(answer)
        yield answer


def _complain(answer: Answer) -> bool:
    """Says on standard error what is wrong with a photo, if anything is."""
    if answer.problem:
        sys.stderr.write(f"{printable(answer.photo)}: {answer.problem}\n")
    return bool(answer.problem)


def as_text(found: Iterable[Answer], predictor: "Predictor", width: int) -> Iterator[str]:
    """Yields a line for each photo that has an answer, the names as wide as `width`."""
    for answer in found:
        if answer.problem:
            continue
        said = [
            f"{predictor.class_names[i]} {_percent(answer.probabilities[i])}"
            for i in np.argsort(-answer.probabilities, kind="stable")[:TOP]
        ]
        if predictor.task == "selfie":
            unsure = predictor.unsure(answer.probabilities[None])[0]
            said = [f"unsure ({said[0]})" if unsure else said[0]]
        yield f"{printable(answer.photo):<{width}}  {', '.join(said)}"


def _percent(share: float) -> str:
    # Rounding makes nothing certain.
    if 0.01 <= share <= 0.99:
        return f"{100 * share:.0f} %"
    return "over 99 %" if share > 0.5 else "under 1 %"


def as_record(answer: Answer, predictor: "Predictor") -> dict[str, Any]:
    """An answer for programs; JSON-ready."""
    if answer.problem:
        return {"photo": answer.photo, "skipped": answer.problem}
    rounded = [round(float(one), 6) for one in answer.probabilities]
    best = int(answer.probabilities.argmax())
    record = {
        "photo": answer.photo,
        "label": predictor.class_names[best],
        "probability": rounded[best],
        "probabilities": dict(zip(predictor.class_names, rounded, strict=True)),
    }
    if predictor.task == "selfie":
        record["unsure"] = bool(predictor.unsure(answer.probabilities[None])[0])
    return record


def as_csv(found: Iterable[Answer], predictor: "Predictor") -> Iterator[str]:
    """Yields a header and a line for each photo that has an answer."""
    sure = ["unsure"] if predictor.task == "selfie" else []
    shares = [f"probability of {name}" for name in predictor.class_names]
    yield _csv_line(["photo", "label", "probability", *sure, *shares])
    for answer in found:
        if not answer.problem:
            record = as_record(answer, predictor)
            shares = record.pop("probabilities").values()
            yield _csv_line([*record.values(), *shares])


def _csv_line(cells: Iterable[Any]) -> str:
    buffer = io.StringIO()
    # As JSON writes them, so that programs need one rule.
    written = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
    csv.writer(buffer, lineterminator="").writerow(written)
    return buffer.getvalue()


def run(flags: argparse.Namespace) -> None:
    """Does what the flags say."""
    with contextlib.ExitStack() as stack:
        items = search.find_photos(_arguments(flags.photos), stack)
        if not items:
            raise UserError("no photos: standard input is empty; expected a path in each line")
        if not flags.skip_unreadable:
            all_or_none(map(_there, items))  # Who has mistyped something should not wait for JAX.
        predictor = _load(flags.checkpoint)
        found: Iterable[Answer] = answers(
            items, predictor, skip=flags.skip_unreadable, explain=flags.explain
        )
        found = _told(found) if flags.skip_unreadable else all_or_none(found)
        if flags.json:
            lines = [json.dumps(as_record(answer, predictor), allow_nan=False) for answer in found]
            sys.stdout.write("[\n  " + ",\n  ".join(lines) + "\n]\n")
            return
        width = min(max(len(item.file.name) for item in items), _NAME_WIDTH)
        text = as_csv(found, predictor) if flags.csv else as_text(found, predictor, width)
        for line in text:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


def _there(item: search.Item) -> Answer:
    problem = item.file.problem  # Those on gs:// have been asked for already.
    if not remote.is_remote(item.file.path):
        problem = "" if os.path.lexists(item.file.path) else "no such file"
    return Answer(item.photo, np.empty(0), problem)


def _arguments(given: Sequence[str]) -> Iterator[str]:
    for argument in given:
        if argument == "-":
            yield from filter(None, (line.rstrip("\r\n") for line in sys.stdin))
        else:
            yield argument


def _load(checkpoint: str) -> "Predictor":
    from cifsel.prediction import predictor
    from cifsel.runtime import cache

    cache.keep_compiled()  # Compiling takes half of the time until the first answer.
    return predictor.load(checkpoint)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = arguments.Parser("cifsel.predict", __doc__)
    add = made.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="file, folder, zip, pattern, or '-'")
    add("--checkpoint", required=True, metavar="DIR", help="workdir of a run, or a comparison")
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print an array of objects")
    form.add_argument("--csv", action="store_true", help="print a table with a header")
    add("--explain", default="", metavar="DIR", help="write there what each answer was seen in")
    add("--skip-unreadable", action="store_true", help="answer for the other photos")
    return made


def main() -> None:
    """Parses the command line, and turns what can go wrong into an exit status."""
    flags = parser().parse_args()
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):  # Names of files need not be text.
            stream.reconfigure(errors=errors)
    try:
        run(flags)
        sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CLOSED_PIPE)


if __name__ == "__main__":
    main()
