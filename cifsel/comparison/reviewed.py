"""Labels of test images that people have looked at, and what that says of a comparison.

People see some of the test images with their labels, and confirm the label or reject it. An error
on an image with a rejected label may be an error of the label.
"""

import csv
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int

from cifsel.comparison import paired
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.label_errors import LabelError
from cifsel.errors import UserError, one_line
from cifsel.evaluation import scoring
from cifsel.runtime import regular, remote
from cifsel.runtime.paths import expanded

MAX_BYTES = 50_000_000
_INDEX, _PATH, _CONFIRMED, _VOTES = "test_index", "path", "confirmed", "votes_given"
_LABELS = ("given", "label")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_COLUMNS = f"{_INDEX} or {_PATH}, and {_CONFIRMED} or {_VOTES}"
_ADVICE = "docs/compare.md has the columns"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the file.

    Attributes:
      line: its number, from 1.
      image: number of the test image in the data set, or its path.
      label: name of the class that people were shown. '' if the file does not say.
      confirmed: whether people confirm this label.
    """

    line: int
    image: int | str
    label: str
    confirmed: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Review:
    """Votes of people on the labels of test images.

    Attributes:
      looked_at: the images that people have looked at.
      rejected: those of them whose label people do not confirm.
    """

    looked_at: Bool[np.ndarray, " images"]
    rejected: Bool[np.ndarray, " images"]


@dataclasses.dataclass(frozen=True)
class RejectedShare:
    """How many labels people reject, of those that they have looked at.

    Attributes:
      looked_at: number of images, at least one.
      rejected: number of them whose label people do not confirm.
      share: rejected / looked_at.
      low: lower end of its 95 % interval, Wilson's.
      high: upper end.
    """

    looked_at: int
    rejected: int
    share: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class ReviewEntry:
    """Results of a comparison on labels that people have reviewed.

    Attributes:
      file: as it was given.
      images: number of test images whose label people did not reject.
      accuracy: on these images, by the name of the candidate.
      all: share of rejected labels of all images that people have looked at.
      suspects: of those among the suspected label errors. None if people have looked at none.
    """

    file: str
    images: int
    accuracy: Mapping[str, paired.Estimate]
    all: RejectedShare
    suspects: RejectedShare | None

    def sentence(self) -> str:
        """Says how often people reject the suspected labels, beside how often they reject any."""
        if self.suspects is None:
            return "People have looked at none of the suspected label errors."
        low, high = 100 * self.suspects.low, 100 * self.suspects.high
        return (
            f"People looked at {self.suspects.looked_at} of the suspected label errors and rejected"
            f" the label of {self.suspects.rejected}, {100 * self.suspects.share:.0f} % (95 %"
            f" interval {low:.0f} to {high:.0f} %). Of all {self.all.looked_at:,} test images that"
            f" they looked at, they rejected {100 * self.all.share:.0f} %."
        )


def read(given: str) -> list[Row]:
    """Reads what people said of labels.

    Args:
      given: a CSV file in UTF-8, local or on gs://. It names the image by its number in the data
        set (`test_index`) or its path (`path`). `confirmed` says yes or no, or `votes_given` and
        other columns `votes_...` count votes. Then more than half of the votes must be for the
        label. `given` or `label` may name the label. Other columns are ignored.

    Raises:
      UserError: there is no such file, or a line cannot be used.
    """
    remote.reach(given)
    try:
        content = regular.content(remote.place(expanded(given)), MAX_BYTES)
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        _check_header(given, reader.fieldnames or [])
        rows = [_row(given, reader.line_num, cells) for cells in reader]
    except FileNotFoundError:
        raise UserError(f"--reviewed={given}: no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"--reviewed={given} cannot be read as CSV in UTF-8 ({one_line(error)}): {_ADVICE}"
        ) from error
    if not rows:
        raise UserError(f"--reviewed={given} has no line below the first: {_ADVICE}")
    return rows


def _check_header(given: str, header: Sequence[str]) -> None:
    names_image = (_INDEX in header) != (_PATH in header)
    if not names_image or not {_CONFIRMED, _VOTES} & set(header) or len({*header}) < len(header):
        raise UserError(
            f"--reviewed={given}: the first line is {','.join(header)[:200]!r}; expected"
            f" {_COLUMNS}: {_ADVICE}"
        )


def _row(given: str, line: int, cells: Mapping[str | None, str | None]) -> Row:
    def refuse(problem: str) -> UserError:
        return UserError(f"--reviewed={given}: line {line} {problem}")

    if None in cells or None in cells.values():
        raise refuse("has another number of fields than the first line")
    texts = {str(name): str(text).strip() for name, text in cells.items()}
    image: int | str = texts.get(_PATH, "")
    if _INDEX in texts:
        if not re.fullmatch(r"[0-9]{1,9}", texts[_INDEX]):
            raise refuse(f"has {_INDEX} {texts[_INDEX][:60]!r}; expected a number such as 17")
        image = int(texts[_INDEX])
    label = next((texts[name] for name in _LABELS if name in texts), "")
    if _CONFIRMED in texts:
        if (word := texts[_CONFIRMED].lower()) not in (*_YES, *_NO):
            raise refuse(f"has {_CONFIRMED} {texts[_CONFIRMED][:60]!r}; expected yes or no")
        return Row(line, image, label, word in _YES)
    votes = {name: text for name, text in texts.items() if name.startswith("votes_")}
    for name, text in votes.items():
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise refuse(f"has {name} {text[:60]!r}; expected a number of votes")
    if not (total := sum(map(int, votes.values()))):
        raise refuse("has no votes; expected one or more")
    return Row(line, image, label, 2 * int(votes[_VOTES]) > total)


def match(
    rows: Sequence[Row],
    given: str,
    *,
    ids: Int[np.ndarray, " images"],
    labels: Int[np.ndarray, " images"],
    class_names: Sequence[str],
    names: Sequence[str] = (),
) -> Review:
    """Finds the test images of the lines. Lines of other images are ignored.

    Args:
      rows: of `read`.
      given: the file, for messages.
      ids: of the test images.
      labels: of the test images.
      class_names: K names.
      names: the path of each image of the data set, by its id. Empty for sets without files.

    Raises:
      UserError: no line is of a test image, or two are of the same one, or a line has another label
        than the data set.
    """
    positions: dict[int | str, int] = {int(id_): at for at, id_ in enumerate(ids)}
    if names:
        positions |= {names[id_]: at for at, id_ in enumerate(ids)}
    looked_at, rejected = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
    for row in rows:
        if (at := positions.get(row.image)) is None:
            continue
        if looked_at[at]:
            raise UserError(
                f"--reviewed={given}: line {row.line} is of image {row.image}, as an earlier one"
                " is: keep one line for each image"
            )
        label = class_names[labels[at]]
        if row.label and row.label != label:
            raise UserError(
                f"--reviewed={given}: line {row.line} says that image {row.image} is labelled"
                f" {row.label[:60]!r}, the data set says {label!r}: give a file of this data set"
            )
        looked_at[at], rejected[at] = True, not row.confirmed
    if not looked_at.any():
        example = names[ids[0]] if names else int(ids[0])
        raise UserError(
            f"--reviewed={given}: none of {len(rows):,} lines is of one of the {len(ids):,} test"
            f" images, such as {example}: give a file of this data set"
        )
    if rejected.all():
        raise UserError(f"--reviewed={given} rejects the labels of all test images: none is left")
    return Review(looked_at, rejected)


def rejected_share(review: Review, positions: Int[np.ndarray, " _"]) -> RejectedShare:
    """The share of rejected labels of the test images at these positions.

    People must have looked at one of them.
    """
    total, rejected = int(review.looked_at[positions].sum()), int(review.rejected[positions].sum())
    return RejectedShare(total, rejected, rejected / total, *scoring.wilson(rejected, total))


def describe(
    file: str, review: Review, candidates: Sequence[Candidate], suspects: Sequence[LabelError]
) -> ReviewEntry:
    """Gathers what a review says of a comparison."""
    kept = ~review.rejected
    doubted = np.array([suspect.position for suspect in suspects], np.int64)
    return ReviewEntry(
        file=file,
        images=int(kept.sum()),
        accuracy={c.name: paired.accuracy(c.right("test")[:, kept]) for c in candidates},
        all=rejected_share(review, np.flatnonzero(review.looked_at)),
        suspects=rejected_share(review, doubted) if review.looked_at[doubted].any() else None,
    )
