"""Answers as text for people, and as JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from cifsel.errors import printable
from cifsel.prediction.answers import Answer
from cifsel.prediction.prediction import of_answer
from cifsel.prediction.predictor import JAX, Predictor
from cifsel.workdir.model_meta import SELFIE

JSON, JSONL, CSV = "json", "jsonl", "csv"
# The last four are those of East Asian keyboards.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def as_text(answers: Iterable[Answer], predictor: Predictor, width: int) -> Iterator[str]:
    """Yields a line for each photo that has an answer. Names are filled to `width` characters."""
    for answer in answers:
        if not answer.problem:
            yield f"{printable(answer.photo):<{width}}  {of_answer(answer, predictor).words}"


def as_json(answers: Iterable[Answer], predictor: Predictor) -> str:
    """An array with an object for each photo, one a line."""
    return "[\n  " + ",\n  ".join(as_jsonl(answers, predictor)) + "\n]"


def as_jsonl(answers: Iterable[Answer], predictor: Predictor) -> Iterator[str]:
    """Yields the object of each photo, in one line."""
    for answer in answers:
        yield json.dumps(_to_object(answer, predictor), allow_nan=False)


def as_csv(
    answers: Iterable[Answer], predictor: Predictor, *, header: bool = True
) -> Iterator[str]:
    """Yields a header, and a line for each photo that has an answer."""
    is_selfie = predictor.task == SELFIE
    shares = [f"probability of {name}" for name in predictor.class_names]
    extra = ["seen in training", "held-out label", "held-out probability", "seen as", "unlike"]
    extra = extra if is_selfie else []
    unsure = ["unsure"] if is_selfie else []
    classes = [] if predictor.set_from is None else ["set"]
    engine = [] if predictor.runtime == JAX else ["runtime"]
    if header:
        yield _csv_line(
            ["photo", "label", "probability", *classes, *unsure, *shares, *extra, *engine]
        )
    for answer in answers:
        if not answer.problem:
            cells = _to_object(answer, predictor)
            known = [cells.pop("seen_in_training"), *_cells(cells.pop("held_out"))] if extra else []
            known += [cells.pop("seen_as") or "", cells.pop("unlike")] if extra else []
            known += [cells.pop("runtime")] if engine else []
            probabilities = cells.pop("probabilities").values()
            if classes:
                cells["set"] = "; ".join(cells["set"])
            yield _csv_line([*cells.values(), *probabilities, *known])


def photo_of(line: str, form: str) -> str:
    """The photo of a line of `as_jsonl` or `as_csv`, as `name_in` gives it.

    Raises:
      ValueError: it is no such line.
    """
    if form == CSV:
        cells = next(csv.reader([line], strict=True), [])
        return cells[0] if cells else ""
    content = json.loads(line)
    if not isinstance(content, dict) or not isinstance(content.get("photo"), str):
        raise ValueError("no object with a photo")
    return content["photo"]


def name_in(form: str, photo: str) -> str:
    """The path of a photo as a form has it."""
    return str(_csv_cell(photo)) if form == CSV else photo


def _cells(held_out: dict[str, Any] | None) -> list[Any]:
    return ["", ""] if held_out is None else [held_out["label"], held_out["probability"]]


def _to_object(answer: Answer, predictor: Predictor) -> dict[str, Any]:
    """The JSON object of an answer."""
    if answer.problem:
        return {"photo": answer.photo, "skipped": answer.problem}
    made = of_answer(answer, predictor)
    content: dict[str, Any] = {
        "photo": made.image,
        "label": made.label,
        "probability": round(made.probability, 6),
    }
    if made.classes is not None:
        content["set"] = list(made.classes)
    content |= {
        "probabilities": {name: round(share, 6) for name, share in made.probabilities.items()},
    }
    if predictor.task == SELFIE:
        content["unsure"] = made.unsure
        content["seen_in_training"] = made.seen_in_training
        content["held_out"] = None
        if made.held_out:
            share = round(made.held_out.probability, 6)
            content["held_out"] = {"label": made.held_out.label, "probability": share}
        content["seen_as"] = made.seen_as
        content["unlike"] = made.unlike
    if predictor.runtime != JAX:
        content["runtime"] = predictor.runtime
    return content


def _csv_line(cells: Iterable[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(map(_csv_cell, cells))
    return buffer.getvalue()


def _csv_cell(content: Any) -> Any:
    """A cell as it is written. Names are harmless, since they may be anybody's.

    Line breaks and other control characters are escaped. Spreadsheets take a text for a formula
    that begins with one of `_FORMULA`, unless an apostrophe comes before it.
    """
    if isinstance(content, bool):
        return str(content).lower()  # As in JSON, so that programs need one rule.
    if not isinstance(content, str):
        return content
    text = printable(content)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
