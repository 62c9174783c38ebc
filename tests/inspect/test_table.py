import pytest

import keras_attention as ka


def test_rows_and_columns():
    models = {name: ka.applications.build(name) for name in ("DN10", "TDN10")}
    table = ka.inspect.summary_table(models, columns={"error %": [0.48, "-"]}, title="ours")
    cells = {column.header: list(column.cells) for column in table.columns}
    assert cells == {
        "model": ["DN10", "TDN10"],
        "parameters": ["44,746", "45,034"],
        "MACs": ["11.3M", "11.3M"],
        "error %": ["0.48", "-"],
    }


def test_columns_need_a_value_for_each_model():
    with pytest.raises(ValueError, match=r"needs 1 values.*'error %'. with 2"):
        ka.inspect.summary_table({"DN10": ka.applications.DN10()}, columns={"error %": [1, 2]})


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1e3, "1K"), (45.2e6, "45.2M"), (1.47e9, "1.47G")]
)
def test_short_numbers(value, text):
    assert ka.inspect.short_number(value) == text
