"""Notices of XLA's compiler, which may take a minute."""

import time

import pytest

from cifsel.runtime import compiling


@pytest.fixture
def notice(monkeypatch):
    monkeypatch.setattr(compiling, "SILENT_SECONDS", 0.02)
    notice = compiling._Notice()
    monkeypatch.setattr(compiling, "_notice", notice)
    yield
    notice.ends()


BEGINS, ENDS = (compiling._BEGINS, 0.1), (compiling._ENDS, 0.1)


def test_long_compilation_is_said_once(notice, capsys):
    compiling._listen(*BEGINS, fun_name="jit(scan)")
    time.sleep(0.2)
    compiling._listen(*ENDS)
    assert capsys.readouterr().out == (
        "compiling the training steps, which the next run need not do again\n"
    )


def test_short_compilation_is_not_said(notice, capsys):
    for _ in range(3):
        compiling._listen(*BEGINS, fun_name="scan")
        compiling._listen(*ENDS)
    compiling._listen("/jax/core/compile/jaxpr_trace_duration", 9.0)
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["scan", "jit(scan)", "jit_scan", "pjit(scan)"])
def test_programs_have_names(notice, name):
    assert compiling.program_name(name) == "the training steps"
    assert compiling.program_name("jit(<lambda>)") == "a program"


def test_the_model_is_named_where_the_program_is_a_part_of_it(notice):
    compiling.name_model("mobilenet")
    assert compiling.program_name("jit(scan)") == "the training steps of mobilenet"
    assert compiling.program_name("jit(solve)") == "the linear probe"


def test_jax_sends_these_events(monkeypatch):
    """Otherwise nothing would ever be said."""
    import jax

    seen = []
    monkeypatch.setattr(
        compiling, "_listen", lambda event, *_, **about: seen.append((event, about))
    )
    compiling.announce()
    compiling.announce()
    jax.jit(lambda x: x + 1.5)(2.0)
    events = [event for event, _ in seen]
    assert events.index(compiling._BEGINS) < events.index(compiling._ENDS)
    assert "fun_name" in dict(seen)[compiling._BEGINS]
