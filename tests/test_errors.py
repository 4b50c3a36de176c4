"""Messages are one printable line, however long and strange their parts are."""

import pytest

from cifsel.errors import ExitCode, UserError, causes, one_line, printable


def test_exit_codes_are_those_that_scripts_know():
    codes = {code.name: code.value for code in ExitCode}
    assert codes == {
        "OK": 0, "DEFECT": 1, "BAD_INPUT": 2, "TRY_AGAIN": 75, "INTERRUPTED": 130,
        "CLOSED_PIPE": 141,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no such file", "no such file"),
        ("two\n  lines\tand a tab", "two lines and a tab"),
        ("", "ValueError"),
        (" \n ", "ValueError"),
        ("bell \a", r"bell \x07"),
        ("a" * 300 + "z" * 300, "a" * 100 + " ... " + "z" * 100),
    ],
)
def test_one_line_of_an_exception(message, expected):
    assert one_line(ValueError(message)) == expected


def test_printable_keeps_what_people_can_read():
    assert printable("Grüße 東京\u3000x") == "Grüße 東京\u3000x"
    assert printable("e\u0301") == "é"
    assert printable("\udcff\x1b[31m") == r"\udcff\x1b[31m"


def test_a_message_that_quotes_a_huge_name_has_both_ends():
    message = str(UserError("start " + "x" * 100_000 + " end"))
    assert len(message) < 2_100
    assert message.startswith("start x")
    assert message.endswith("x end")


def test_causes_are_those_that_were_named_and_those_that_were_not():
    def fail():
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second")  # noqa: B904 - the point of it
        except ValueError as error:
            raise UserError("third") from error

    with pytest.raises(UserError) as caught:
        fail()
    assert [type(cause) for cause in causes(caught.value)] == [UserError, ValueError, KeyError]
