"""Shows the sections of our docstrings that the site's reader of Google's style does not know."""

import inspect
import re
from typing import Any

import griffe

SECTIONS = ("Call arguments", "Weights", "Input shape", "Output shape", "Reference", "References")
EXAMPLE = re.compile(r"^Example:\n((?:>>>|\.\.\.).*?)(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n((?:    .*(?:\n|\Z)|\n(?=    ))+)", re.MULTILINE)
NAMED = re.compile(r"^(\*{0,2}\w+(?:, \w+)*): ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites docstrings as they are read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites what a function, class or module says of itself."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """A docstring with its examples as sessions, and our sections under headings."""
    text = EXAMPLE.sub(r"**Example**\n\n```pycon\n\1\n```", text)
    return SECTION.sub(lambda match: f"**{match[1]}**\n\n{_listed(match[2])}\n", text)


def _listed(block: str) -> str:
    """The lines of a section; `name: meaning` becomes an item of a list."""
    return NAMED.sub(r"- `\1`: ", inspect.cleandoc(block)) + "\n"
