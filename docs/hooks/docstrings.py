"""Shows the sections of our docstrings that the site's reader of Google's style does not know."""

import ast
import inspect
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent.parent
CONVENTIONS = ROOT / "keras_attention" / "applications" / "conventions.py"
SECTIONS = ("Call arguments", "Weights", "Input shape", "Output shape", "Reference", "References")
EXAMPLE = re.compile(r"^Example:\n((?:>>>|\.\.\.).*?)(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n((?:    .*(?:\n|\Z)|\n(?=    ))+)", re.MULTILINE)
NAMED = re.compile(r"^(\*{0,2}\w+(?:, \w+)*): ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites docstrings as they are read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of a function, class or module."""
        if obj.docstring:
            obj.docstring.value = rewritten(completed(obj.docstring.value, Path(obj.filepath)))


def completed(text: str, module: Path = CONVENTIONS) -> str:
    """Replaces `{common_arguments}` and the like, as `register` does when a builder is imported."""
    shared = {**_shared_docstrings(CONVENTIONS), **_shared_docstrings(module)}

    def indented(match: re.Match[str]) -> str:
        return textwrap.indent(completed(shared[match[2]].strip(), module), match[1])

    return re.sub(rf"^( *)\{{({'|'.join(shared)})\}}$", indented, text, flags=re.MULTILINE)


@cache
def _shared_docstrings(module: Path) -> dict[str, str]:
    """Reads the constant from the source of a module, without importing Keras."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHARED_DOCSTRINGS":
            return ast.literal_eval(node.value)
    return {}


def rewritten(text: str) -> str:
    """A docstring with its examples as sessions, and our sections under headings."""
    text = EXAMPLE.sub(r"**Example**\n\n```pycon\n\1\n```", text)
    return SECTION.sub(lambda match: f"**{match[1]}**\n\n{_listed(match[2])}\n", text)


def _listed(block: str) -> str:
    """The lines of a section; `name: meaning` becomes an item of a list."""
    return NAMED.sub(r"- `\1`: ", inspect.cleandoc(block)) + "\n"
