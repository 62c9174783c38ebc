"""Griffe extension for shared parts of docstrings and for sections that Google style lacks."""

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
    """Rewrites docstrings before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of a function, class or module."""
        if obj.docstring:
            obj.docstring.value = to_markdown(
                complete_docstring(obj.docstring.value, Path(obj.filepath))
            )


def complete_docstring(text: str, module: Path = CONVENTIONS) -> str:
    """Replaces names such as `{common_arguments}`, as `register` does for an imported builder."""
    shared = {**_shared_docstrings(CONVENTIONS), **_shared_docstrings(module)}

    def replacement(match: re.Match[str]) -> str:
        return textwrap.indent(complete_docstring(shared[match[2]].strip(), module), match[1])

    return re.sub(rf"^( *)\{{({'|'.join(shared)})\}}$", replacement, text, flags=re.MULTILINE)


@cache
def _shared_docstrings(module: Path) -> dict[str, str]:
    """Reads the shared docstrings from the source of a module, without importing Keras."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHARED_DOCSTRINGS":
            return ast.literal_eval(node.value)
    return {}


def to_markdown(text: str) -> str:
    """Turns examples into code blocks and additional sections into headings with lists."""
    text = EXAMPLE.sub(r"**Example**\n\n```pycon\n\1\n```", text)
    return SECTION.sub(lambda match: f"**{match[1]}**\n\n{_to_list(match[2])}\n", text)


def _to_list(block: str) -> str:
    """Formats the lines of a section; `name: meaning` becomes an item of a list."""
    return NAMED.sub(r"- `\1`: ", inspect.cleandoc(block)) + "\n"
