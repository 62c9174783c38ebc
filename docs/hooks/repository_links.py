"""Rewrites links from pages to other files of the repository, such as programs and tests.

On a code host, a relative link like `../../applications/scale_space.py` works unchanged. In the
site it is replaced by the address of the file under `repo_url`, or by its text without `repo_url`.
"""

import logging
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

# In a strict build, a warning of MkDocs's loggers is an error.
LOG = logging.getLogger("mkdocs.hooks.repository_links")
# Links to a parent folder, no images and no other sites.
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Rewrites the links of a page, except in code blocks."""
    docs = Path(config.docs_dir)
    folder = PurePosixPath(page.file.src_uri).parent

    def rewrite(match: re.Match[str]) -> str:
        inside = PurePosixPath(os.path.normpath(folder / match["target"]))
        if inside.parts[0] != "..":
            return match[0]
        path = PurePosixPath(os.path.normpath(docs.name / inside))
        if path.parts[0] == ".." or not (docs.parent / path).exists():
            LOG.warning("%s links to a file that does not exist: %s", page.file.src_uri, path)
        if not config.repo_url:
            return match["text"]
        address = f"{config.repo_url.rstrip('/')}/blob/HEAD/{path}{match['anchor'] or ''}"
        return f"[{match['text']}]({address})"

    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)
