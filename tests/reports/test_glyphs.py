"""Names in any script: no warning in any figure, and an escape where no font has a character."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from cifsel.reports import glyphs, layout, style

# Japanese, emoji with and without a joiner, Arabic, Hindi, Thai, a private character, a flag.
NAMES = ("笑顔", "😀", "👩‍🚀", "سعيد", "खुश", "มีความสุข", "\ue000", "🇯🇵", "für Ärger ß")


def chart(names=NAMES, title="悲しい"):
    figure = Figure(layout="constrained", figsize=(12, 8))
    axes = figure.subplots()
    for number, name in enumerate(names):
        axes.bar([name], [number], label=name)
    axes.legend()
    axes.set_title(title)
    axes.annotate(names[0], (0, 0))
    axes.set_yticks(range(len(names)), names)
    return figure


# Warnings are errors in all tests.
@pytest.mark.parametrize("render", [style.to_rgb, style.to_png, lambda f: style.to_svg(f, "t")])
def test_names_of_any_script_give_no_warning(render):
    assert len(render(chart())) > 0


def test_pictures_of_pages_keep_the_letters_and_pixels_escape_them():
    svg = style.to_svg(chart(), "t")
    for name in NAMES[:5]:
        assert name in svg
    escaped = tuple(glyphs.drawable(name) for name in NAMES)
    plain = style.to_rgb(chart(escaped, glyphs.drawable("悲しい")))
    np.testing.assert_array_equal(style.to_rgb(chart()), plain)


def test_only_what_no_font_has_is_escaped(monkeypatch):
    monkeypatch.setattr(glyphs, "_characters", lambda: frozenset(map(ord, "für Ä笑")))
    assert glyphs.drawable("für 笑顔\n\ufe0f") == "für 笑\\u9854\n"
    assert glyphs.drawable("ascii \\u") == "ascii \\u"
    assert glyphs.drawable("Ä\U0001f600") == "Ä\\U0001f600"
    assert glyphs.drawable("大変悲しい日") == "\\u5927\\u5909…\\u3044\\u65e5"


def test_measuring_gives_no_warning_either():
    @style.styled
    def measured():
        figure = chart()
        layout.freeze(figure)
        return figure

    assert style.to_rgb(measured()).shape == (800, 1200, 3)


def test_fonts_of_this_machine():
    assert glyphs.families()[0] == "DejaVu Sans"
    assert {ord("ß"), ord("é"), ord("…")} <= glyphs._characters()
