"""Converts formulas to MathML when the site is built: pages need no scripts and no network."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replaces the formulas that the Markdown extension arithmatex has marked."""
    content = BLOCK.sub(lambda match: convert(html.unescape(match[1]), display="block"), content)
    return INLINE.sub(lambda match: convert(html.unescape(match[1])), content)
