"""The pictures of recurrent attention hold the masks that its cell applies."""

import keras
import numpy as np
import pytest

import keras_attention as ka

T, FEATURES, UNITS = 6, 3, 4
CELLS = {
    "lstm": lambda: keras.layers.LSTMCell(UNITS),
    "gru": lambda: keras.layers.GRUCell(UNITS),
    "simple": lambda: keras.layers.SimpleRNNCell(UNITS),
}


def masks_of_outputs(cell, sequences, states):
    """The definition: each step's mask from its input and the state before, `(B, T, features)`."""
    before = np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)
    kernel, recurrent_kernel, bias = (
        keras.ops.convert_to_numpy(weight)
        for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)
    )
    return 1.0 / (1.0 + np.exp(-(sequences @ kernel + before @ recurrent_kernel + bias)))


def panels(figure, rows=2):
    shown = [np.ma.getdata(axes.images[0].get_array()).T for axes in figure.axes[: 4 * rows]]
    return [np.stack(shown[column::4]) for column in range(4)]


def model_and_states(sequences, cell, bias, **options):
    """A model that returns the last output, and the outputs of all its steps."""
    inputs = keras.Input((None, FEATURES))
    layer = keras.layers.RNN(ka.layers.RecurrentAttention(cell), name="ran", **options)
    model = keras.Model(inputs, layer(inputs))
    layer.cell.bias.assign(bias)
    every = keras.layers.RNN(layer.cell, return_sequences=True, **options)
    return model, keras.ops.convert_to_numpy(every(sequences))


@pytest.mark.parametrize("kind", CELLS)
def test_masks_are_those_of_the_cell(kind, rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    model, states = model_and_states(sequences, CELLS[kind](), rng.normal(size=FEATURES))
    cell = model.get_layer("ran").cell
    figure = ka.inspect.plot_attention(model, sequences)
    given, read, mask, product = panels(figure)
    np.testing.assert_array_equal(given, sequences)
    np.testing.assert_array_equal(read, sequences)
    np.testing.assert_allclose(mask, masks_of_outputs(cell, sequences, states), atol=1e-6)
    np.testing.assert_allclose(product, sequences * mask, rtol=1e-6)
    assert (figure.axes[2].get_xlabel(), figure.axes[2].get_ylabel()) == ("step", "feature")


def test_backwards(rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    model, states = model_and_states(
        sequences, CELLS["lstm"](), np.ones(FEATURES), go_backwards=True
    )
    cell = model.get_layer("ran").cell
    expected = masks_of_outputs(cell, sequences[:, ::-1], states)[:, ::-1]
    _, _, mask, _ = panels(ka.inspect.plot_attention(model, sequences))
    np.testing.assert_allclose(mask, expected, atol=1e-6)


def test_initial_states_are_those_of_the_call(rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    inputs = keras.Input((T, FEATURES))
    start = keras.layers.Dense(UNITS)(keras.layers.GlobalAveragePooling1D()(inputs))
    layer = keras.layers.RNN(ka.layers.RecurrentAttention(CELLS["gru"]()))
    model = keras.Model(inputs, [layer(inputs, initial_state=start), start])
    state = model(sequences)[1]
    expected = keras.ops.convert_to_numpy(layer.cell.attention(sequences[:, 0], state))
    _, _, mask, _ = panels(ka.inspect.plot_attention(model, sequences))
    np.testing.assert_allclose(mask[:, 0], expected, atol=1e-6)


def test_masked_steps_are_passed_over(rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    padded = sequences.copy()
    padded[:, 2:4] = 0.0
    inputs = keras.Input((None, FEATURES))
    x = keras.layers.Masking()(inputs)
    layer = keras.layers.RNN(ka.layers.RecurrentAttention(CELLS["lstm"]()), name="ran")
    model = keras.Model(inputs, layer(x))
    _, _, mask, _ = panels(ka.inspect.plot_attention(model, padded))
    assert np.all(mask[:, 2:4] == 0.0)
    short = np.concatenate([sequences[:, :2], sequences[:, 4:]], axis=1)
    _, _, expected, _ = panels(ka.inspect.plot_attention(model, short))
    np.testing.assert_allclose(np.delete(mask, [2, 3], axis=1), expected, atol=1e-6)


def test_half_precision(rng):
    keras.config.set_dtype_policy("mixed_float16")
    model = ka.applications.LSTM4((T, FEATURES), 3, attention="ran", placement="full")
    _, _, mask, _ = panels(ka.inspect.plot_attention(model, rng.normal(size=(2, T, FEATURES))))
    assert np.all((mask > 0.0) & (mask < 1.0))
