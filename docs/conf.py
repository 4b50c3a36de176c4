"""Configuration of the documentation site.

    pip install -e '.[docs]'
    sphinx-build -W --keep-going -b html docs docs/_build

The build writes the tables of config fields into `_generated/`, and one API page for each package
that `api/index.rst` lists into `api/generated/`. Git ignores both.
"""

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# The config files are not a part of every installation, and autodoc imports this checkout.
sys.path.insert(0, str(ROOT))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "cifsel"
html_title = "cifsel"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "_generated", "_templates", "notebooks"]
templates_path = ["_templates"]
# A name in single backticks, which docstrings use for code.
default_role = "code"

# Links such as train.md#results need an id for each heading.
myst_heading_anchors = 3

# One parameter a line in longer signatures.
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
# Otherwise the fields of a dataclass are listed twice, with and without their meaning.
napoleon_use_ivar = True


def write_fields(_: Sphinx) -> None:
    """Writes a table of the fields of each task, for `configuration.md`."""
    from cifsel.config import SELFIE, TASK1

    folder = DOCS / "_generated"
    folder.mkdir(exist_ok=True)
    for name, schema in {"fields-task1.md": TASK1, "fields-task2.md": SELFIE}.items():
        lines = []
        for title, fields in schema.sections.items():
            lines += [f"### {title}", "", "| field | default | values | meaning |"]
            lines.append("| --- | --- | --- | --- |")
            for field in fields:
                help_text = re.sub(r"(--\w+|\S*<\S*)", r"`\1`", field.help)
                cells = f"`{field.name}`", f"`{field.default}`", field.expected, help_text
                lines.append(f"| {' | '.join(cells)} |")
            lines.append("")
        (folder / name).write_text("\n".join(lines))


def name_files(_: Sphinx, __: str, source: list[str]) -> None:
    """Replaces links to files outside `docs/`, which the site does not have, by their paths.

    '[results](../experiments/README.md)' becomes 'results (`experiments/README.md`)'. In the
    repository such links work.
    """
    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\((?:\.\./)+([^)#]+)[^)]*\)", r"\1 (`\2`)", source[0])


def escape(_: Sphinx, __: str, ___: str, ____: object, _____: object, lines: list[str]) -> None:
    """Escapes what reStructuredText would read as markup: docstrings are plain text."""
    for i, line in enumerate(lines):
        # Outside of backticks.
        parts = line.split("`")
        parts[::2] = [re.sub(r"([*|]|-(?=-))", r"\\\1", part) for part in parts[::2]]
        lines[i] = "`".join(parts)


def setup(app: Sphinx) -> None:
    """Connects the functions above to Sphinx's events."""
    app.connect("builder-inited", write_fields)
    app.connect("source-read", name_files)
    # Before napoleon, which writes markup of its own.
    app.connect("autodoc-process-docstring", escape, priority=400)
