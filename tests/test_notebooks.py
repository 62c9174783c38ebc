"""Tests that the notebooks are complete, readable on a code host, and link to existing files.

`make notebooks` executes them; these tests do not.
"""

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from keras_attention.datasets import list_datasets

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
# The paper's page, program and layer that each notebook must link to.
PAPERS = {
    "01_targeted_kernels": "targeted_kernels",
    "02_scale_space": "scale_space",
    "03_attend_rectify": "attend_rectify",
    "04_attention_transfer": "attention_transfer",
    "05_dynamic_capacity": "dynamic_capacity",
}
LAYERS = {
    "targeted_kernels": "layers/targeted.py",
    "scale_space": "layers/scale_space.py",
    "attend_rectify": "layers/attend_rectify.py",
    "attention_transfer": "losses/attention_transfer.py",
    "dynamic_capacity": "layers/dynamic_capacity.py",
}
NAMES = ["00_quickstart", *PAPERS, "06_your_own_model"]
MAX_BYTES = 250_000
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|Users|work|var)/")

each = pytest.mark.parametrize("name", NAMES)


@cache
def notebook(name):
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    return nbformat.reads(text, as_version=4)


def code_cells(name):
    return [cell for cell in notebook(name).cells if cell.cell_type == "code"]


def markdown(name):
    return "\n".join(cell.source for cell in notebook(name).cells if cell.cell_type == "markdown")


def statements(name):
    """Parses the statements of all code cells without IPython commands."""
    plain = "\n".join(cell.source for cell in code_cells(name))
    return ast.parse(re.sub(r"(?m)^%.*$", "", plain)).body


def links(text):
    return [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]


def test_every_notebook_is_listed():
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == NAMES


@each
def test_is_valid_and_was_executed_in_order(name):
    nbformat.validate(notebook(name))
    cells = code_cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert notebook(name).metadata.kernelspec.name == "python3"


@each
def test_has_outputs_without_errors_or_warnings(name):
    outputs = [output for cell in code_cells(name) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    silent = [
        cell.source for cell in code_cells(name) if "print(" in cell.source and not cell.outputs
    ]
    # A cell that only defines functions has no output, even if they print.
    assert not [source for source in silent if re.search(r"(?m)^(for .*|)print\(", source)]


@each
def test_is_small_and_has_no_machine_paths(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    assert path.stat().st_size < MAX_BYTES
    assert not MACHINE_PATH.search(path.read_text(encoding="utf-8"))
    for cell in notebook(name).cells:
        assert not cell.metadata, cell.source


@each
def test_a_variable_switches_the_data(name):
    values = {
        node.targets[0].id: node.value
        for node in statements(name)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    used = ast.literal_eval(values["DATA"])
    choices = ast.literal_eval(values["SETTINGS"].value)
    assert ast.unparse(values["SETTINGS"].slice) == "DATA"
    known = list_datasets()
    assert next(iter(choices)) == used
    assert set(choices) <= set(known)
    assert not known[used].needs_network
    assert not known[used].needs_files
    assert len(choices) == 2
    assert known[list(choices)[1]].needs_network
    assert len({tuple(settings) for settings in choices.values()}) == 1


@each
def test_states_a_claim_with_its_equation_and_checks_it(name):
    assert "**Claim.**" in markdown(name)
    assert "$$" in markdown(name)
    assert "did not hold" in markdown(name) or name == "00_quickstart"
    assert sum(isinstance(node, ast.Assert) for node in statements(name)) >= 3


@each
def test_links_exist(name):
    found = links(markdown(name))
    assert found
    assert not [link for link in found if not (NOTEBOOKS / link).exists()]


@pytest.mark.parametrize("name", PAPERS)
def test_links_to_page_program_and_layer_of_its_paper(name):
    paper, found = PAPERS[name], links(markdown(name))
    assert f"../docs/papers/{paper}.md" in found
    assert f"../applications/{paper}.py" in found
    assert f"../keras_attention/{LAYERS[paper]}" in found


def test_index_lists_all_notebooks():
    found = links((NOTEBOOKS / "README.md").read_text(encoding="utf-8"))
    assert [link for link in found if link.endswith(".ipynb")] == [f"{one}.ipynb" for one in NAMES]
    assert not [link for link in found if not (NOTEBOOKS / link).exists()]
