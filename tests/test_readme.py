"""Examples of README print what they show, its links exist, and its tables are complete."""

import re

import pytest

import keras_attention as ka
from tests.documents import ROOT, python_blocks, run_block, with_layer_table
from tests.harness import cross_section

PATH = ROOT / "README.md"
README = PATH.read_text(encoding="utf-8")
EXAMPLES = python_blocks(PATH)
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
ROWS = [line for line in README.splitlines() if line.startswith("|")]
PAPERS = [path.stem for path in sorted((ROOT / "docs" / "papers").glob("*.md"))]
# Tests of the models count the parameters of larger ones.
SMALL = 6_000_000


@pytest.mark.parametrize("index", cross_section(range(len(EXAMPLES)), fast={0}))
def test_example_prints_what_it_shows(index, tmp_path, monkeypatch, capsys, reloads_here):
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES[index]
    expected = PRINTED.findall(example)
    assert len(expected) == 1, "an example shows one result"
    run_block(example, PATH, {})
    assert capsys.readouterr().out.splitlines()[-1] == expected[0]


def test_is_short_and_starts_with_a_figure_and_an_example():
    assert len(README.splitlines()) < 250
    assert README.index("![") < README.index("```python") < 2500


def test_links_exist():
    links = {target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", README)}
    assert len(links) > 40
    assert not [target for target in sorted(links) if not (ROOT / target).exists()]


@pytest.mark.parametrize("name", PAPERS)
def test_row_of_a_paper_has_all_links(name):
    row = next(
        line for line in README.splitlines() if f"(applications/{name}.py)" in line and "|" in line
    )
    targets = re.findall(r"\]\(([^)]+)\)", row)
    for folder in (
        "keras_attention/layers/",
        "keras_attention/applications/",
        "notebooks/",
        "tests/",
    ):
        if (name, folder) != ("attention_transfer", "keras_attention/layers/"):
            assert any(target.startswith(folder) for target in targets), folder
    assert f"docs/papers/{name}.md" in targets


def _sizes():
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+)", README, re.MULTILINE)
    return {name: int(count.replace(",", "")) for name, count in rows}


def test_every_layer_has_a_row():
    assert [name for name in ka.layers.__all__ if f"`{name}`" not in "".join(ROWS)] == []
    # Written by `python -m tests.documents`.
    assert with_layer_table(README) == README


def test_table_has_every_model():
    assert set(_sizes()) == set(ka.applications.list_models())


@pytest.mark.parametrize(
    ("name", "count"),
    cross_section(
        [row for row in _sizes().items() if row[1] < SMALL], fast={"CNN6", "TDN10", "LeNet5", "DCN"}
    ),
)
def test_parameters_of_the_table(name, count):
    assert ka.inspect.trainable_parameters(ka.applications.build(name)) == count
