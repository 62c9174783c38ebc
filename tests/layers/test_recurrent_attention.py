import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import cross_section

L = keras.layers
CELLS = {
    "lstm": lambda: L.LSTMCell(4),
    "gru": lambda: L.GRUCell(4),
    "simple": lambda: L.SimpleRNNCell(4),
    "stack": lambda: L.StackedRNNCells([L.LSTMCell(4), L.GRUCell(3)]),
    "dropout": lambda: L.LSTMCell(4, dropout=0.3, recurrent_dropout=0.3),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_equations(rng):
    """Compares a simple cell with NumPy, step by step."""
    cell = ka.layers.RecurrentAttention(L.SimpleRNNCell(3))
    layer = L.RNN(cell, return_sequences=True)
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    outputs = keras.ops.convert_to_numpy(layer(x))
    kernel, recurrent, bias = map(np.asarray, (cell.kernel, cell.recurrent_kernel, cell.bias))
    inner = cell.cell
    h = np.zeros((2, 3))
    for step in range(5):
        mask = sigmoid(x[:, step] @ kernel + h @ recurrent + bias)
        attended = (mask * x[:, step]) @ np.asarray(inner.kernel)
        h = np.tanh(attended + h @ np.asarray(inner.recurrent_kernel) + np.asarray(inner.bias))
        np.testing.assert_allclose(outputs[:, step], h, atol=1e-5)


@pytest.mark.parametrize("kind", cross_section(CELLS, fast={"lstm"}))
def test_any_cell_trains_and_is_saved(kind, rng, tmp_path):
    cell = ka.layers.RecurrentAttention(CELLS[kind]())
    model = keras.Sequential([keras.Input((6, 3)), L.RNN(cell), L.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = rng.normal(size=(8, 6, 3)), rng.normal(size=(8, 1))
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert kind == "dropout" or losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_attention_of_all_steps(rng):
    cell = ka.layers.RecurrentAttention(L.GRUCell(4))
    outputs = L.RNN(cell, return_sequences=True)(rng.normal(size=(2, 5, 3)).astype("float32"))
    before = keras.ops.concatenate([keras.ops.zeros((2, 1, 4)), outputs[:, :-1]], axis=1)
    mask = cell.attention(keras.ops.zeros((2, 5, 3)), before)
    assert tuple(mask.shape) == (2, 5, 3)
    assert keras.backend.standardize_dtype(mask.dtype) == "float32"


@pytest.mark.parametrize("cell", [L.Dense(3), None, "lstm"])
def test_invalid_cell(cell):
    with pytest.raises(ValueError, match="`cell` must be a Keras cell"):
        ka.layers.RecurrentAttention(cell)
