"""Hooks of the documentation: API pages, links, formulas and docstrings."""

import importlib.util
from types import SimpleNamespace

import pytest

from tests.documents import ROOT


def hook(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def linked(text, repo_url=None, page="guides/serve.md"):
    config = SimpleNamespace(docs_dir=str(ROOT / "docs"), repo_url=repo_url)
    page = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    return hook("repository_links").on_page_markdown(text, page=page, config=config)


def test_links_to_files_need_the_address_of_the_repository():
    text = "See [the rules](../../CONTRIBUTING.md#rules), [API](../api/export.md)."
    address = "https://example.org/code"
    assert linked(text) == "See the rules, [API](../api/export.md)."
    expected = (
        f"See [the rules]({address}/blob/HEAD/CONTRIBUTING.md#rules), [API](../api/export.md)."
    )
    assert linked(text, f"{address}/") == expected


@pytest.mark.parametrize(
    "text",
    [
        "[elsewhere](https://example.org/a)",
        "![figure](../san_attention.png)",
        "```python\n[x](../../setup.py)\n```",
    ],
)
def test_other_links_and_code_stay_the_same(text):
    assert linked(text, "https://example.org") == text


@pytest.mark.parametrize("target", ["../../applications/nothing.py", "../../../outside.py"])
def test_link_to_a_missing_file_is_a_warning(target, caplog):
    linked(f"[x]({target})")
    assert "links to a file that does not exist" in caplog.text
    assert caplog.records[0].name.startswith("mkdocs")


def test_api_page_lists_names_without_an_entry():
    listed = "# losses\n\n::: keras_attention.losses.HintLoss\n"
    lines = hook("api_pages").complete_page(listed, "losses").splitlines()
    assert lines[:5] == ["# losses", "", "::: keras_attention.losses.HintLoss", "", "## More"]
    assert "::: keras_attention.losses.KnowledgeDistillationLoss" in lines[5:]
    assert lines.count("::: keras_attention.losses.HintLoss") == 1
    page = SimpleNamespace(file=SimpleNamespace(src_uri="guides/losses.md"))
    assert hook("api_pages").on_page_markdown(listed, page=page) == listed


def test_formulas_become_mathml():
    pytest.importorskip("latex2mathml", reason="of the extra docs")
    content = (
        '<p><span class="arithmatex">\\(x &lt; 3\\)</span></p><div class="arithmatex">\\[y\\]</div>'
    )
    html = hook("formulas").on_page_content(content)
    assert "arithmatex" not in html
    assert html.count("<math") == 2
    assert "&#x0003C;" in html


def test_docstring_sections_get_headings():
    pytest.importorskip("griffe", reason="of the extra docs")
    text = "Adds.\n\nWeights:\n    kernel: `(2,)`.\n\nExample:\n>>> 1 + 1\n2"
    weights, example = "- `kernel`: `(2,)`.", "```pycon\n>>> 1 + 1\n2\n```"
    expected = f"Adds.\n\n**Weights**\n\n{weights}\n\n\n**Example**\n\n{example}"
    assert hook("docstrings").to_markdown(text) == expected


def test_docstrings_of_builders_are_completed():
    text = hook("docstrings").complete_docstring("Args:\n    {common_arguments}\n    width: Width.")
    assert "{" not in text
    assert "    classes: Number of classes" in text
