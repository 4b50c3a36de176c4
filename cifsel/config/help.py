"""The list of a config's fields, for --help."""

import textwrap
from collections.abc import Mapping
from typing import Any

from cifsel.config.schema import Schema
from cifsel.runtime import terminal

_COLUMN = 34  # characters before the help of a field


def field_list(schema: Schema, values: Mapping[str, Any]) -> str:
    """Lists all fields under their headings: name, value, help, accepted values.

    Lines fit the terminal.

    Args:
      schema: fields in the order of the list.
      values: of a config, by field. A field that it lacks is shown with its default.
    """
    width = terminal.help_width()
    lines = []
    for title, fields in schema.sections.items():
        lines.append(f"\n{title}")
        for field in fields:
            setting = f"{field.name} = {values.get(field.name, field.default)!r}"
            lines += textwrap.wrap(
                f"{setting:<{_COLUMN}}  {field.help} [{field.expected}]",
                width,
                initial_indent="  ",
                subsequent_indent=" " * (_COLUMN + 4),
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
