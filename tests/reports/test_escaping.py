"""Texts from outside are shown as they are, in Markdown and in HTML."""

import pytest

from cifsel.reports import escaping, looks, style
from cifsel.reports.glossary import Glossary


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("[click](https://x.y)", r"\[click\](https&#58;//x.y)"),
        ("![x](y)", r"!\[x\](y)"),
        ("**b** _i_ `c` ~~s~~ $m$", r"\*\*b\*\* \_i\_ \`c\` \~\~s\~\~ \$m\$"),
        ("<img src=x>|&lt;", r"&lt;img src=x&gt;\|&amp;lt;"),
        ("www.a.b and me@x.org", "www&#46;a.b and me&#64;x.org"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("---", r"\---"),
        ("=====", r"\====="),
        ("> quote", "&gt; quote"),
        ("back\\slash", r"back\\slash"),
        ("two\nlines \x1b[2J", r"two lines \\x1b\[2J"),
        # Numbers of tables stay as they are.
        ("86.00 % (77.9 to 91.5)", "86.00 % (77.9 to 91.5)"),
        ("+3.60", "+3.60"),
        ("-4.0 to +29.0", "-4.0 to +29.0"),
    ],
)
def test_markdown_shows_text_as_it_is(text, escaped):
    assert escaping.cell(text) == escaped


def test_nothing_ends_a_block_of_code():
    block = escaping.code_block(["a ``` b", "```", "c\n```\nd"])
    assert block.splitlines() == ["````", "a ``` b", "```", r"c\n```\nd", "````"]


def test_html_has_no_control_characters_and_no_lone_percent():
    assert escaping.shown("5 % \u202e\x1b, p = 0.1") == "5\u00a0% \\u202e\\x1b, p\u00a0=\u00a00.1"


def test_terms_are_explained_where_they_come_up_first():
    glossary = Glossary()
    first = glossary.explain("loss, nats & <b> (95 % interval)")
    assert '<abbr title="The unit of a loss' in first
    assert "&amp; &lt;b&gt;" in first
    assert "95\u00a0% interval</abbr>" in first
    assert "abbr" not in glossary.explain("nats again, but no nationals")
    assert [term for term, _ in glossary.used] == ["95 % interval", "nats"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.01234, "0.0123"),
        (0.3906, "0.391"),
        (60, "60.0"),
        (9.999, "10.0"),
        (1234.5, "1,230"),
        (0, "0"),
    ],
)
def test_three_digits(value, written):
    assert style.significant(value) == written


def test_models_keep_their_colours_in_any_order_and_company():
    both = ["mobilenet", "efficientnetv2-b0"]
    assert looks.places(both) == [1, 0]
    assert looks.places(both[::-1]) == [0, 1]
    assert looks.places(["mobilenet"]) == [1]
    assert looks.places(["efficientnetv2-b0", "efficientnetv2-b3", "mobilenet"]) == [0, 2, 1]
    assert looks.places(["other", "mobilenet", "mobilenet"]) == [0, 1, 2]
    assert [looks.colour(model) for model in both] == [style.ORANGE, style.BLUE]
