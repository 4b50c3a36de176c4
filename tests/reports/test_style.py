"""Figures become pixels, PNG files and SVG elements, whatever the settings of the user."""

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cifsel.errors import UserError
from cifsel.reports import style

SVG = "{http://www.w3.org/2000/svg}"


@style.styled
def figure_of(**settings):
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([0, 1, 2], [0, 5, 1], **settings)
    return figure


def decode(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


class TestRendering:
    def test_png_and_array_show_the_same_picture_at_the_asked_size(self):
        figure = figure_of()
        width, height = figure.get_size_inches() * style.DPI
        rgb = style.to_rgb(figure)
        assert rgb.dtype == np.uint8
        assert rgb.shape == (round(height), round(width), 3)
        np.testing.assert_array_equal(decode(style.to_png(figure)), rgb)

    def test_a_users_own_settings_change_nothing_and_stay_as_they_are(self):
        plain = style.to_png(figure_of())
        own = {"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 30, "xtick.labelsize": 2}
        with mpl.rc_context(own):
            assert style.to_png(figure_of()) == plain
            assert {key: mpl.rcParams[key] for key in own} == own

    def test_names_are_never_read_as_formulas(self):
        figure = figure_of()
        figure.axes[0].set_title(r"$\nosuch$")
        style.to_rgb(figure)  # A formula of that kind would raise.

    def test_save_writes_the_png_and_nothing_else(self, tmp_path):
        figure = figure_of()
        path = tmp_path / "grid.png"
        path.write_bytes(b"an older one")
        style.save(figure, path)
        assert path.read_bytes() == style.to_png(figure)
        assert list(tmp_path.iterdir()) == [path]

    def test_save_that_fails_leaves_the_old_file_whole(self, tmp_path, monkeypatch):
        path = tmp_path / "grid.png"
        path.write_bytes(b"an older one")

        def half_written(self, data):
            with open(self, "wb") as file:  # noqa: PTH123 - Path.write_bytes is what this replaces
                file.write(data[: len(data) // 2])
            raise OSError("disk full")

        monkeypatch.setattr(type(style.epath.Path(path)), "write_bytes", half_written)
        with pytest.raises(UserError, match="disk full"):
            style.save(figure_of(), path)
        assert path.read_bytes() == b"an older one"
        assert list(tmp_path.iterdir()) == [path]


def element_ids(svg):
    return [e.get("id") for e in ElementTree.fromstring(svg).iter() if "id" in e.attrib]


class TestToSvg:
    def test_is_an_element_to_stand_in_a_page(self):
        svg = style.to_svg(figure_of(), "Speed < cost & 'more'")
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert svg.startswith("<svg ")
        assert "xlink" not in svg
        assert "<!" not in svg
        assert (root.get("viewBox"), root.get("class")) == ("0 0 216 144", "chart")
        assert not {"width", "height"} & set(root.attrib)
        assert (root[0].tag, root[0].text) == (f"{SVG}title", "Speed < cost & 'more'")

    def test_nothing_of_it_reaches_the_page_round_it(self):
        assert not list(ElementTree.fromstring(style.to_svg(figure_of(), "")).iter(f"{SVG}style"))

    def test_nothing_is_painted_behind(self):
        assert "#ffffff" not in style.to_svg(figure_of(), "").lower()

    def test_letters_stay_letters_in_the_colour_and_kind_of_the_page(self):
        figure = figure_of()
        figure.axes[0].set_title("café $x$ <b>")
        (title,) = [
            text
            for text in ElementTree.fromstring(style.to_svg(figure, "")).iter(f"{SVG}text")
            if text.text == "café $x$ <b>"
        ]
        assert "fill: currentColor" in title.get("style")
        assert "sans-serif" in title.get("style")

    @pytest.mark.parametrize(
        ("colour", "in_a_page"),
        [
            (style.INK, "stroke: currentColor;"),
            (style.BLUE, "stroke: var(--blue, #0072B2);"),
            (style.ORANGE, "stroke: var(--orange, #D55E00);"),
            (style.GREEN, "stroke: var(--green, #00795A);"),
            ("#CC79A7", "stroke: #cc79a7;"),
            ("black", "stroke: #000000;"),
        ],
    )
    def test_colours_are_the_pages_where_it_has_its_own(self, colour, in_a_page):
        assert f"{in_a_page} stroke-width: 7" in style.to_svg(
            figure_of(color=colour, linewidth=7), ""
        )

    def test_the_grid_is_faint_ink(self):
        svg = style.to_svg(figure_of(), "")
        assert re.search(r"stroke: currentColor; stroke-opacity: 0\.\d+; stroke-width: 0\.8", svg)
        assert "#e6e6e6" not in svg

    def test_what_is_referred_to_is_there_and_has_the_only_ids(self):
        svg = style.to_svg(figure_of(marker="o"), "")
        referred = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
        assert "clip-path" in svg
        assert "<use " in svg
        assert sorted(referred) == sorted(element_ids(svg))

    def test_ids_of_two_charts_differ_even_if_the_charts_do_not(self):
        titles = ("One", "Two")
        first, second = (
            element_ids(style.to_svg(figure_of(marker="o"), title)) for title in titles
        )
        other_marker = element_ids(style.to_svg(figure_of(marker="s"), "One"))
        assert first
        assert not set(first) & set(second)
        assert not set(first) & set(other_marker)

    def test_pictures_stay_in(self):
        figure = Figure()
        figure.add_subplot().imshow(np.zeros((3, 3)))
        svg = style.to_svg(figure, "")
        assert 'href="data:image/png;base64,' in svg

    def test_a_users_own_settings_change_nothing(self):
        expected = style.to_svg(figure_of(), "")
        with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mine", "font.size": 30}):
            assert style.to_svg(figure_of(), "") == expected
