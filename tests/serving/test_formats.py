"""The table of formats is complete and correct."""

import pytest

import keras_attention as ka
from tests.serving.format_cases import format_cases
from tests.serving.formats import FORMATS, TABLE, cell

FEW = [("LeNet5", "onnx")]


def test_every_model_has_a_row():
    found = TABLE.committed()
    assert list(found) == [(case.name, kind) for case in format_cases() for kind in FORMATS]
    assert {name.partition(",")[0] for name, _ in found} == set(ka.applications.list_models())
    assert all(value == "yes" or value.startswith("no: ") for value in found.values())


@pytest.mark.parametrize(("name", "kind"), FEW)
def test_a_few_cells_are_correct(name, kind, tmp_path):
    case = next(case for case in format_cases() if case.name == name)
    assert cell(case, kind, tmp_path) == TABLE.committed()[name, kind]


@pytest.mark.slow
def test_all_cells_are_correct():
    expected = TABLE.committed()
    assert TABLE.compute(list(expected)) == expected
