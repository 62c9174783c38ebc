"""The README does what it says, and leads to what it names."""

import re

import pytest

import keras_attention as ka
from tests.documents import ROOT, python_blocks, run_block

PATH = ROOT / "README.md"
README = PATH.read_text(encoding="utf-8")
EXAMPLES = python_blocks(PATH)
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
ROWS = [line for line in README.splitlines() if line.startswith("|")]
PAPERS = [path.stem for path in sorted((ROOT / "docs" / "papers").glob("*.md"))]
# Larger ones are counted where they are tested.
SMALL = 6_000_000


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_example_prints_what_it_says(index, tmp_path, monkeypatch, capsys, reloads_here):
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES[index]
    promised = PRINTED.findall(example)
    assert len(promised) == 1, "an example shows one result"
    run_block(example, PATH, {})
    assert capsys.readouterr().out.splitlines()[-1] == promised[0]


def test_is_short_and_starts_with_a_picture_and_an_example():
    assert len(README.splitlines()) < 250
    assert README.index("![") < README.index("```python") < 2500


def test_links_lead_somewhere():
    links = {target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", README)}
    assert len(links) > 40
    assert not [target for target in sorted(links) if not (ROOT / target).exists()]


@pytest.mark.parametrize("name", PAPERS)
def test_row_of_a_paper_leads_to_all_of_it(name):
    row = next(
        line for line in README.splitlines() if f"(applications/{name}.py)" in line and "|" in line
    )
    targets = re.findall(r"\]\(([^)]+)\)", row)
    for room in (
        "keras_attention/layers/",
        "keras_attention/applications/",
        "notebooks/",
        "tests/",
    ):
        if (name, room) != ("attention_transfer", "keras_attention/layers/"):
            assert any(target.startswith(room) for target in targets), room
    assert f"docs/papers/{name}.md" in targets


def _sizes():
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+)", README, re.MULTILINE)
    return {name: int(count.replace(",", "")) for name, count in rows}


def test_every_layer_has_a_row():
    assert [name for name in ka.layers.__all__ if f"`{name}`" not in "".join(ROWS)] == []


def test_table_has_every_model():
    assert set(_sizes()) == set(ka.applications.list_models())


@pytest.mark.parametrize(("name", "count"), [row for row in _sizes().items() if row[1] < SMALL])
def test_parameters_of_the_table(name, count):
    assert ka.inspect.trainable_parameters(ka.applications.build(name)) == count
