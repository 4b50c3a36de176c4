"""Votes of people on labels: reading the file, and the numbers computed from it.

test_compare.py looks at the report of a comparison with such a file.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from cifsel.comparison import reviewed
from cifsel.comparison.label_errors import LabelError
from cifsel.errors import UserError

IDS, LABELS = np.array([3, 5, 8, 9]), np.array([0, 1, 1, 0])
SET = {"ids": IDS, "labels": LABELS, "class_names": ("ant", "bee")}
# The columns of the votes on CIFAR-100 that the label-errors project has.
VOTES = """test_index,given,guessed,votes_given,votes_guessed,votes_both,votes_neither
3,ant,bee,4,1,0,0
4,fox,bee,0,5,0,0
5,bee,ant,2,2,1,0
9,ant,bee,2,1,0,1
"""


@pytest.fixture
def write(tmp_path):
    """(text) -> the path of a file with it."""

    def make(text):
        (tmp_path / "people.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(tmp_path / "people.csv")

    return make


def test_votes_confirm_a_label_by_more_than_half(write):
    file = write(VOTES)
    review = reviewed.match(reviewed.read(file), file, **SET)
    assert review.looked_at.tolist() == [True, True, False, True]
    # Image 9 has half of its votes, which is not more than half.
    assert review.rejected.tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("test_index,confirmed\n3,yes\n8,No\n", ()),
        ("\ufefftest_index,confirmed,who\r\n3,TRUE,me\r\n8,0,you\r\n", ()),
        (
            "path,label,confirmed\na/3.jpg,ant,1\na/8.jpg,bee,false\n",
            [f"a/{i}.jpg" for i in range(10)],
        ),
    ],
)
def test_the_plain_columns_say_yes_or_no(text, names, write):
    file = write(text)
    review = reviewed.match(reviewed.read(file), file, names=names, **SET)
    assert review.looked_at.tolist() == [True, False, True, False]
    assert review.rejected.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is ''; expected test_index or path, and confirmed or votes_given"),
        ("test_index\n3\n", "the first line is 'test_index'; expected"),
        ("test_index,path,confirmed\n", "expected test_index or path"),
        ("test_index,confirmed,confirmed\n", "the first line is"),
        ("test_index,confirmed\n", "has no line below the first"),
        ("test_index,confirmed\n3\n", "line 2 has another number of fields"),
        ("test_index,confirmed\n3,yes,no\n", "line 2 has another number of fields"),
        ("test_index,confirmed\n-3,yes\n", "line 2 has test_index '-3'; expected a number"),
        ("test_index,confirmed\n3,perhaps\n", "line 2 has confirmed 'perhaps'; expected yes or no"),
        ("test_index,votes_given,votes_no\n3,1,x\n", "line 2 has votes_no 'x'; expected a number"),
        ("test_index,votes_given,votes_no\n3,0,0\n", "line 2 has no votes"),
        ("test_index,confirmed\n3,yes\n3,no\n", "line 3 is of image 3, as an earlier one is"),
        ("test_index,given,confirmed\n3,bee,yes\n", "image 3 is labelled 'bee', the data set says"),
        ("test_index,confirmed\n4,yes\n", "none of 1 lines is of one of the 4 test images, such"),
        ("test_index,confirmed\n3,0\n5,0\n8,0\n9,0\n", "rejects the labels of all test images"),
        ('test_index,confirmed\n3,"yes\n', "cannot be read as CSV in UTF-8"),
        (b"test_index,confirmed\n3,\xff\n", "cannot be read as CSV in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(text, message, write):
    file = write(text)
    with pytest.raises(UserError) as refused:
        reviewed.match(reviewed.read(file), file, **SET)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"--reviewed={file}")


def test_no_file_and_a_huge_one(tmp_path, monkeypatch, write):
    with pytest.raises(UserError, match="no such file"):
        reviewed.read(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="cannot be read"):
        reviewed.read(str(tmp_path))
    monkeypatch.setattr(reviewed, "MAX_BYTES", 20)
    with pytest.raises(UserError, match="more than 0 MB"):
        reviewed.read(write(VOTES))


def test_accuracy_is_over_the_images_whose_label_is_not_rejected():
    review = reviewed.Review(np.array([1, 1, 0, 1], bool), np.array([0, 1, 0, 1], bool))
    right = np.array([[True, False, False, True]])
    candidate = SimpleNamespace(name="A", right=lambda split: right)
    suspects = [LabelError(1, 1, 0, 0.9), LabelError(2, 1, 0, 0.8)]
    entry = reviewed.describe("file", review, [candidate], suspects)
    assert (entry.images, entry.accuracy["A"].mean) == (2, 0.5)
    assert (entry.all.looked_at, entry.all.rejected) == (3, 2)
    # Nobody looked at the second suspect.
    assert (entry.suspects.looked_at, entry.suspects.share) == (1, 1.0)
    assert "looked at 1 of the suspected label errors and rejected the label of 1, 100 %" in (
        entry.sentence()
    )
    assert reviewed.describe("file", review, [candidate], suspects[1:]).suspects is None
