"""Text of any script in figures: fonts of this machine, and escapes for what none of them has.

matplotlib comes with one font of text, DejaVu Sans. It lacks the letters of many languages and most
emoji. It would draw boxes for them, with a warning for each.
"""

import contextlib
import functools
import itertools
import re
import warnings
from collections.abc import Iterator
from typing import Any

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg

FONT = "DejaVu Sans"
# Fonts that systems have for other scripts. Those that are here are asked in this order.
_OTHERS = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Hiragino Sans",
    "Yu Gothic",
    "IPAexGothic",
    "Noto Sans CJK SC",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "Noto Sans KR",
    "Apple SD Gothic Neo",
    "Malgun Gothic",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Nirmala UI",
    "Noto Sans Thai",
    "Leelawadee UI",
    "Noto Emoji",
    "Segoe UI Symbol",
    "Arial Unicode MS",
)
_MOST_ESCAPES = 4
# They only choose between the pictures of the character before them, or are not seen at all.
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufe00-\ufe0f]")


@functools.cache
def families() -> list[str]:
    """The fonts of this machine to draw text with, the best first."""
    here = {font.name for font in font_manager.fontManager.ttflist}
    return [FONT, *(name for name in _OTHERS if name in here)]


@functools.cache
def _characters() -> frozenset[int]:
    """The characters that some of the fonts can draw."""
    paths = [font_manager.findfont(font_manager.FontProperties(family=f)) for f in families()]
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))


def drawable(text: str) -> str:
    r"""Returns a text with escapes such as \u7b11 for the characters that no font has.

    Of more than four such characters in a row, the middle ones are left out, as escapes are long.
    """
    if text.isascii():
        return text
    known = _characters()
    shown = []
    for is_known, run in itertools.groupby(
        _UNSEEN.sub("", text), lambda c: ord(c) in known or c.isspace()
    ):
        characters = [c if is_known else ascii(c)[1:-1] for c in run]
        if not is_known and len(characters) > _MOST_ESCAPES:
            characters[_MOST_ESCAPES // 2 : -_MOST_ESCAPES // 2] = ["…"]
        shown += characters
    return "".join(shown)


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Passes over matplotlib's warnings of characters that it cannot draw."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(?s)Glyph \d+ .*missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        yield


class _Renderer(RendererAgg):
    """Draws and measures texts as `drawable` gives them, also those of ticks and legends."""

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, *arguments: Any, **options: Any
    ) -> Any:
        return super().draw_text(gc, x, y, drawable(s), *arguments, **options)

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return super().get_text_width_height_descent(drawable(s), prop, ismath)


class Canvas(FigureCanvasAgg):
    """A canvas of pixels for text of any script."""

    def get_renderer(self) -> RendererAgg:  # noqa: D102 - inherited
        key = (*self.get_width_height(physical=True), self.figure.dpi)
        if self._lastKey != key:
            self.renderer, self._lastKey = _Renderer(*key), key
        return self.renderer
