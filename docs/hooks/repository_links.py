"""Links from pages to files of the repository that are no pages, such as programs and tests.

On a code host a relative link like `../../applications/scale_space.py` works as it stands. In the
site it leads to the same file under `repo_url`; where that is not set, the link's text is left.
"""

import logging
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

# With `strict` a warning of MkDocs's loggers ends the build.
LOG = logging.getLogger("mkdocs.hooks.repository_links")
# Not of images; not to elsewhere; targets with a folder above.
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Rewrites the links of a page, outside its blocks of code."""
    docs = Path(config.docs_dir)
    folder = PurePosixPath(page.file.src_uri).parent

    def rewritten(match: re.Match[str]) -> str:
        inside = PurePosixPath(os.path.normpath(folder / match["target"]))
        if inside.parts[0] != "..":
            return match[0]
        path = PurePosixPath(os.path.normpath(docs.name / inside))
        if path.parts[0] == ".." or not (docs.parent / path).exists():
            LOG.warning("%s links to a file that is not there: %s", page.file.src_uri, path)
        if not config.repo_url:
            return match["text"]
        address = f"{config.repo_url.rstrip('/')}/blob/HEAD/{path}{match['anchor'] or ''}"
        return f"[{match['text']}]({address})"

    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(rewritten, part) for part in parts)
