"""The table of formats has every model, and says what is true."""

import pytest

import keras_attention as ka
from tests.serving.format_rows import rows
from tests.serving.formats import FORMATS, cell, cells, committed

# Quick ones that took work: regions of learned size, groups of kernels, recurrent layers.
FEW = [("TKN6", "onnx"), ("TDN10, compacted", "onnx"), ("LSTM4", "litert"), ("LeNet5", "int8")]


def test_every_model_has_a_row():
    found = committed()
    assert list(found) == [(row.name, kind) for row in rows() for kind in FORMATS]
    assert {name.partition(",")[0] for name, _ in found} == set(ka.applications.list_models())
    assert all(value == "yes" or value.startswith("no: ") for value in found.values())


@pytest.mark.parametrize(("name", "kind"), FEW)
def test_a_few_rows_are_true(name, kind, tmp_path):
    row = next(row for row in rows() if row.name == name)
    assert cell(row, kind, tmp_path) == committed()[name, kind]


@pytest.mark.slow
def test_all_rows_are_true():
    expected = committed()
    assert cells(list(expected)) == expected
