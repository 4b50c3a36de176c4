"""Answers as text for people, and as JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cifsel.errors import printable
from cifsel.prediction.answers import Answer
from cifsel.prediction.predictor import Predictor
from cifsel.workdir.model_meta import SELFIE, SeenPhoto

TOP = 5  # classes in a line of text
# The last four are those of East Asian keyboards.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def as_text(answers: Iterable[Answer], predictor: Predictor, width: int) -> Iterator[str]:
    """Yields a line for each photo that has an answer. Names are filled to `width` characters."""
    for answer in answers:
        if answer.problem:
            continue
        likeliest = [
            f"{printable(predictor.class_names[i])} {_percent(answer.probabilities[i])}"
            for i in np.argsort(-answer.probabilities, kind="stable")[:TOP]
        ]
        if predictor.task == SELFIE:
            unsure = predictor.unsure(answer.probabilities[None])[0]
            likeliest = [f"unsure ({likeliest[0]})" if unsure else likeliest[0]]
        if answer.seen:
            likeliest[-1] += f"  (seen in training; held out: {_held_out(answer.seen, predictor)})"
        yield f"{printable(answer.photo):<{width}}  {', '.join(likeliest)}"


def _held_out(photo: SeenPhoto, predictor: Predictor) -> str:
    """The answer of models that had not seen the photo."""
    best = int(np.argmax(photo.held_out))
    return f"{predictor.class_names[best]} {_percent(photo.held_out[best])}"


def _percent(share: float) -> str:
    # Rounding must not make anything certain.
    if 0.01 <= share <= 0.99:
        return f"{100 * share:.0f} %"
    return "over 99 %" if share > 0.5 else "under 1 %"


def as_json(answers: Iterable[Answer], predictor: Predictor) -> str:
    """An array with an object for each photo, one a line."""
    objects = [json.dumps(_to_object(answer, predictor), allow_nan=False) for answer in answers]
    return "[\n  " + ",\n  ".join(objects) + "\n]"


def as_csv(answers: Iterable[Answer], predictor: Predictor) -> Iterator[str]:
    """Yields a header, and a line for each photo that has an answer."""
    is_selfie = predictor.task == SELFIE
    shares = [f"probability of {name}" for name in predictor.class_names]
    extra = ["seen in training", "held-out label", "held-out probability"] if is_selfie else []
    unsure = ["unsure"] if is_selfie else []
    yield _csv_line(["photo", "label", "probability", *unsure, *shares, *extra])
    for answer in answers:
        if not answer.problem:
            cells = _to_object(answer, predictor)
            known = [cells.pop("seen_in_training"), *_cells(cells.pop("held_out"))] if extra else []
            probabilities = cells.pop("probabilities").values()
            yield _csv_line([*cells.values(), *probabilities, *known])


def _cells(held_out: dict[str, Any] | None) -> list[Any]:
    return ["", ""] if held_out is None else [held_out["label"], held_out["probability"]]


def _to_object(answer: Answer, predictor: Predictor) -> dict[str, Any]:
    """The JSON object of an answer."""
    if answer.problem:
        return {"photo": answer.photo, "skipped": answer.problem}
    rounded = [round(float(share), 6) for share in answer.probabilities]
    best = int(answer.probabilities.argmax())
    content = {
        "photo": answer.photo,
        "label": predictor.class_names[best],
        "probability": rounded[best],
        "probabilities": dict(zip(predictor.class_names, rounded, strict=True)),
    }
    if predictor.task == SELFIE:
        content["unsure"] = bool(predictor.unsure(answer.probabilities[None])[0])
        content["seen_in_training"] = answer.seen is not None
        content["held_out"] = None
        if answer.seen:
            best = int(np.argmax(answer.seen.held_out))
            content["held_out"] = {
                "label": predictor.class_names[best],
                "probability": round(answer.seen.held_out[best], 6),
            }
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
