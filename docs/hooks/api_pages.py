"""Completes the API pages: every public name of a package has an entry on the package's page.

The pages in docs/api sort names under headings. A name that no page mentions, such as a new layer,
is appended under the heading "More".
"""

import importlib
import re
from pathlib import Path
from typing import Any

PAGE = re.compile(r"api/(\w+)\.md")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Completes a page of docs/api, and returns every other page unchanged."""
    match = PAGE.fullmatch(page.file.src_uri)
    return complete_page(markdown, match[1]) if match else markdown


def complete_page(markdown: str, package: str) -> str:
    """Appends the public names of `keras_attention.<package>` that have no entry yet."""
    entries = re.findall(rf"^::: keras_attention\.{package}\.([\w.]+)$", markdown, re.MULTILINE)
    listed = {entry.rpartition(".")[2] for entry in entries}
    module = importlib.import_module(f"keras_attention.{package}")
    missing = [_path(module, name) for name in module.__all__ if name not in listed]
    if not missing:
        return markdown
    return "\n\n".join([markdown.rstrip(), "## More", *(f"::: {path}" for path in missing)]) + "\n"


def _path(module: Any, name: str) -> str:
    # If a function and its module have the same name, mkdocstrings would show the module.
    is_module = (Path(module.__file__).parent / f"{name}.py").exists()
    return f"{module.__name__}.{name}.{name}" if is_module else f"{module.__name__}.{name}"
