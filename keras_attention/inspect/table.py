"""A table that compares models."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from rich.table import Table

from keras_attention.inspect.macs import count_macs
from keras_attention.utils.validation import keras_model, table_of


def summary_table(
    models: Mapping[str, keras.Model],
    input_shape: Any = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    title: str | None = None,
) -> Table:
    """Compares models: trainable parameters, multiply-accumulates, and what you have measured.

    Args:
        models: The models by the name to show.
        input_shape: `(H, W, channels)` to count for; None takes the models' own.
        columns: More columns by their heading, with a value for each model.
        title: Line above the table.

    Returns:
        A `rich.table.Table`: print it with `rich.print`, or show it in a notebook.

    Raises:
        ValueError: When a column does not have a value for each model.

    Example:
    >>> import keras_attention as ka
    >>> table = summary_table({"DN10": ka.applications.DN10()}, columns={"error %": [0.48]})
    >>> [column.header for column in table.columns]
    ['model', 'parameters', 'MACs', 'error %']
    """
    models, columns = table_of("models", models), table_of("columns", columns or {})
    for heading, values in columns.items():
        if len(values) != len(models):
            raise ValueError(
                f"Each column needs {len(models)} values, one a model. "
                f"Received: columns[{heading!r}] with {len(values)}"
            )
    table = Table(title=title)
    table.add_column("model")
    for heading in ("parameters", "MACs", *columns):
        table.add_column(heading, justify="right")
    for row, (name, model) in enumerate(models.items()):
        macs: Any = count_macs(model, input_shape)
        cells = [f"{trainable_parameters(model):,}", short_number(int(macs))]
        cells += [_cell(values[row]) for values in columns.values()]
        table.add_row(name, *cells)
    return table


def trainable_parameters(model: keras.Model) -> int:
    """Counts the numbers that training changes."""
    weights = keras_model("model", model).trainable_weights
    return sum(math.prod(weight.shape) for weight in weights)


def short_number(value: float) -> str:
    """Writes a count with three digits, as the papers' tables do.

    Example:
    >>> short_number(368_367_114), short_number(44_746)
    ('368M', '44.7K')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return (
                f"{value / size:.3g}{unit}" if value < 1000 * size else f"{value / size:.0f}{unit}"
            )
    return f"{value:.0f}"


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
