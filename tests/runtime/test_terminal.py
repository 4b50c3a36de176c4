"""The terminal: whatever the streams are, however wide, and how numbers are said."""

import io
import subprocess
import sys

import pytest
from paths import REPO
from rich.cells import cell_len
from rich.text import Text

from cifsel.errors import UserError
from cifsel.runtime import bars, terminal
from cifsel.runtime import console as console_module
from cifsel.runtime.bars import show_table
from cifsel.runtime.terminal import count, say

# --- streams -------------------------------------------------------------------------------------

SAYS = """
import sys
from cifsel.runtime import terminal
from cifsel.runtime import command

def run():
    for name in sys.argv[2:]:
        getattr(terminal, sys.argv[1])(name)

command.start_terminal()
command.guarded(run)
"""


def bash(words, script=SAYS, **environment):
    """Status, standard output and standard error of a line of bash, with the command as $C."""
    path = {"PYTHONPATH": str(REPO), "PATH": "/bin:/usr/bin", "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-c", f'{words}; exit "${{PIPESTATUS[0]}}"'],
        env=path | {"SCRIPT": script} | environment,
        cwd=REPO,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


RUN = '"$PYTHON" -c "$SCRIPT"'


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("way", ["say", "answer", "warn"])
def test_characters_that_a_stream_lacks_are_escaped(encoding, way):
    status, *said = bash(f"{RUN} {way} 'Grüße 東京'", PYTHONIOENCODING=encoding)
    expected = "Grüße 東京\n".encode(encoding, errors="backslashreplace")
    assert status == 0
    assert said == ([b"", expected] if way == "warn" else [expected, b""])


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (f"{RUN} answer x >/dev/full", 2, "standard output cannot be written (No space left"),
        (f"{RUN} say x >/dev/full", 2, "standard output cannot be written (No space left"),
        (f"{RUN} answer x >&-", 2, "standard output is closed"),
        (f"{RUN} say x >&-", 0, ""),
        (f"{RUN} warn x 2>&-", 0, ""),
        (f"{RUN} warn x 2>/dev/full", 0, ""),
        (f"{RUN} say x <&- >&- 2>&-", 0, ""),
        (f"{RUN} answer $(seq 20000) | head -1", 141, ""),
        (f"{RUN} say $(seq 3000) | head -1", 141, ""),
    ],
)
def test_streams_that_are_full_closed_or_not_read(words, status, error):
    ended, _, said = bash(words)
    assert ended == status
    assert said.startswith(f"error: {error}".encode() if error else b"")
    assert said.count(b"\n") == (1 if error else 0)


@pytest.mark.process
def test_the_next_file_does_not_get_the_number_of_a_closed_stream(tmp_path):
    script = f"""
from cifsel.runtime import terminal
terminal.set_up()
import os
file = open({str(tmp_path / "file")!r}, "w")
assert file.fileno() > 2
os.write(1, b"lost"), os.write(2, b"lost")
"""
    assert bash(f"{RUN} <&- >&- 2>&-", script) == (0, b"", b"")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.process
def test_predict_without_standard_input():
    words = '"$PYTHON" -m cifsel.predict --checkpoint=x - <&-'
    assert bash(words) == (
        2,
        b"",
        b"error: standard input is closed; expected a path in each line\n",
    )


# --- lines ---------------------------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 40 columns; gives what is written to it, without styles."""
    file = io.StringIO()
    console = console_module._Console(
        file=file, force_terminal=True, width=40, soft_wrap=True, highlight=False, no_color=True
    )
    for module in (console_module, bars):
        monkeypatch.setattr(module, "console", console)

    def written():
        return file.getvalue().replace("\x1b[1m", "").replace("\x1b[3m", "").replace("\x1b[0m", "")

    return written


def test_lines_break_between_words(narrow):
    text = "epoch 1/1  train loss 3.911 accuracy 12.5 %  validation loss 3.9 and 1,234 images/s"
    say(text)
    lines = narrow().splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert " ".join(narrow().split()) == " ".join(text.split())
    assert any("12.5 %" in line for line in lines)
    assert [line.startswith("  ") for line in lines] == [False] + [True] * (len(lines) - 1)


def test_a_word_that_is_too_long_stays_whole(narrow):
    path = "/tmp/" + "x" * 60 + "/report.html"
    say(f"the report is {path} now")
    assert path in narrow()


def test_wide_characters_count_twice(narrow):
    say("東京 " * 12)
    assert all(cell_len(line) <= 40 for line in narrow().splitlines())


def test_tables_break_between_words_and_leave_paths_whole(narrow):
    path = "/tmp/" + "x" * 60 + "/report.html"
    show_table("title", {"test": "83.31 %  (95 % interval 82.3 to 84.3 %)", "report": path})
    lines = narrow().splitlines()
    assert lines[0] == "title"
    assert path in narrow()
    assert all(len(line) <= 40 for line in lines if path not in line)


def test_a_log_gets_one_line_for_each_message_and_row(capsys):
    say("word " * 50)
    show_table("title", {"name": "word " * 50})
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_steps_are_said_once_in_a_log(capsys):
    with bars.working("drawing the report"):
        pass
    assert list(bars.tracked(range(3), "fine-tuning")) == [0, 1, 2]
    assert capsys.readouterr().out == "drawing the report\nfine-tuning\n"


def test_tracked_and_working_on_a_terminal(narrow):
    with bars.working("drawing"):
        assert list(bars.tracked([1, 2], "fine-tuning")) == [1, 2]


def test_a_long_name_makes_the_bar_shorter(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(bars, "console", console_module._Console(file=file, width=80))
    speed = Text("28 images/s")
    monkeypatch.setattr(bars._ImagesPerSecond, "render", lambda *_: speed)
    label = "features, ImageNet weights, crop=expression"
    with bars.image_bar(label) as bar:
        task = bar.add_task(label, total=84)
        bar.update(task, completed=84)
    (line,) = file.getvalue().splitlines()
    assert line.startswith(label)
    assert line.rstrip().endswith(" 28 images/s 0:00:00")


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("epoch",), "0 epochs"),
        (1, ("epoch",), "1 epoch"),
        (1200, ("epoch",), "1,200 epochs"),
        (1, ("class", "classes"), "1 class"),
        (2, ("class", "classes"), "2 classes"),
    ],
)
def test_count(number, words, said):
    assert count(number, *words) == said


@pytest.mark.parametrize(("elapsed", "said"), [(0.0001, ""), (2.0, "75 images/s")])
def test_a_bar_that_was_over_at_once_has_no_speed(elapsed, said):
    task = type("Task", (), {"finished_speed": 75.0, "speed": 75.0, "elapsed": elapsed})
    assert bars._ImagesPerSecond().render(task).plain == said


def test_answers_that_cannot_be_written(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(UserError, match="standard output cannot be written"):
        terminal.answer("x")
