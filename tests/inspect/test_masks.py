"""Figures of masks show the layers' own masks, gates and predictions."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import cross_section

L = keras.layers


def panels(figure, rows, columns):
    """Values of the panels, `[row][column]`."""
    shown = [np.ma.getdata(axes.images[0].get_array()) for axes in figure.axes[: rows * columns]]
    return [shown[row * columns : (row + 1) * columns] for row in range(rows)]


def to_numpy(tensors):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


# CBAM and BAM


@pytest.mark.parametrize("kind", ["CBAM", "BAM"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_masks_of_images(kind, data_format, rng):
    last = data_format == "channels_last"
    images = rng.uniform(size=(2, 6, 5, 3)).astype("float32")
    layer = getattr(ka.layers, kind)(reduction=1, data_format=data_format)
    inputs = keras.Input((6, 5, 3) if last else (3, 6, 5))
    model = keras.Model(inputs, layer(inputs))
    given = images if last else np.moveaxis(images, -1, 1)
    outputs, mask = to_numpy(layer(given, return_attention=True))
    if not last:
        outputs, mask = np.moveaxis(outputs, 1, -1), np.moveaxis(mask, 1, -1)

    figure = ka.inspect.plot_attention(model, given)
    for row, values in enumerate(panels(figure, 2, 6)):
        image, input_map, channels, positions, tiles, output_map = values
        np.testing.assert_array_equal(image, images[row])
        np.testing.assert_allclose(input_map, images[row].mean(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(channels, mask[row].mean(axis=(0, 1))[None], rtol=1e-5)
        np.testing.assert_allclose(positions, mask[row].mean(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(tiles[:6, 6:11], mask[row][..., 1], rtol=1e-5)
        np.testing.assert_allclose(output_map, outputs[row].mean(axis=-1), rtol=1e-5)
    assert figure.axes[4].get_title() == "mask\n3 channels"


def test_masks_of_layers_of_your_own(rng):
    """A layer that returns the mask of its map for `return_attention` is drawn."""

    class Half(keras.layers.Layer):
        def call(self, inputs, return_attention=False):
            mask = keras.ops.full_like(inputs, 0.5)
            return (inputs * mask, mask) if return_attention else inputs * mask

        data_format = "channels_last"

    model = keras.Sequential([keras.Input((4, 4, 2)), Half(name="half")])
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, 4, 4, 2)))
    assert np.all(figure.axes[3].images[0].get_array() == 0.5)
    assert figure.get_suptitle().endswith("half")


def test_several_attentions_of_layers_of_your_own(rng):
    class Two(keras.layers.Layer):
        data_format = "channels_last"

        def call(self, inputs, return_attention=False):
            means = {"a": keras.ops.mean(inputs, axis=(1, 2)), "b": keras.ops.mean(inputs, axis=-1)}
            return (inputs, means) if return_attention else inputs

    images = rng.uniform(size=(1, 4, 5, 3)).astype("float32")
    model = keras.Sequential([keras.Input((4, 5, 3)), Two(name="two")])
    _, channels, positions = panels(ka.inspect.plot_attention(model, images), 1, 3)[0]
    np.testing.assert_allclose(channels, images.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(positions, images[0].mean(axis=-1), rtol=1e-5)


# SAN

STEPS = ("difference", "extrema", "smoothed", "mask")


@pytest.fixture(scope="module")
def lenet():
    return ka.applications.LeNet5((14, 12, 1), 3, attention="san-c")


def test_steps_of_scale_space_attention(lenet, rng):
    images = rng.uniform(size=(2, 14, 12, 1)).astype("float32")
    layer = lenet.get_layer("conv1_attention")
    inputs = keras.Model(lenet.inputs[0], layer.input)(images, training=False)
    steps = to_numpy(layer.intermediates(inputs))
    figure = ka.inspect.plot_attention(lenet, images)
    for row, (image, y_prev, y, *maps) in enumerate(panels(figure, 2, 7)):
        np.testing.assert_array_equal(image, images[row, ..., 0])
        np.testing.assert_array_equal(y_prev, images[row, ..., 0])
        assert y.shape == (2 * 14 + 1, 3 * 12 + 2), "six channels, a line between them"
        outputs = keras.ops.convert_to_numpy(inputs[1])
        np.testing.assert_array_equal(y[15:, 13:25], outputs[row, ..., 4])
        for name, tiles in zip(STEPS, maps, strict=True):
            np.testing.assert_allclose(tiles[:14, 26:], steps[name][row, ..., 2], atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_channels_with_the_most_variable_masks(data_format, rng):
    last = data_format == "channels_last"
    images = rng.uniform(size=(4, 6, 5, 2) if last else (4, 2, 6, 5)).astype("float32")
    inputs = keras.Input(images.shape[1:])
    y = L.Conv2D(20, 3, data_format=data_format)(inputs)
    layer = ka.layers.SANBlock(smoothing=None, extrema=False, data_format=data_format, name="san")
    model = keras.Model(inputs, layer([inputs, y]))
    kernel, bias = model.layers[1].get_weights()
    kernel[..., :4], bias[:4] = 0.0, 100.0  # the mask of those channels is 1 everywhere
    model.layers[1].set_weights([kernel, bias])
    figure = ka.inspect.plot_attention(model, images)
    assert figure.axes[0].get_title() == "image"
    assert figure.axes[1].get_title() == "y_prev\n2 channels"
    assert figure.axes[2].get_title() == "y\n16 of 20 channels"
    outputs = keras.ops.convert_to_numpy(model.layers[1](images))
    fifth = outputs[0, ..., 4] if last else outputs[0, 4]
    np.testing.assert_allclose(panels(figure, 3, 7)[0][2][:4, :3], fifth, rtol=1e-5)
    assert len(figure.axes) == 3 * 7 + 6, "three images of four"


def test_scale_space_attention_of_sequences(rng):
    inputs = keras.Input((7, 3))
    y = L.Conv1D(5, 3, padding="same")(inputs)
    model = keras.Model(inputs, ka.layers.SANBlock(data_format="channels_last")([inputs, y]))
    sequences = rng.uniform(size=(2, 7, 3)).astype("float32")
    steps = model.layers[-1].intermediates([sequences, model.layers[1](sequences)])
    figure = ka.inspect.plot_attention(model, sequences)
    for row, (sequence, y_prev, _, *maps) in enumerate(panels(figure, 2, 7)):
        np.testing.assert_array_equal(sequence, sequences[row].T)
        np.testing.assert_array_equal(y_prev, sequences[row].T)
        for name, shown in zip(STEPS, maps, strict=True):
            np.testing.assert_allclose(shown, to_numpy(steps)[name][row].T, atol=1e-6)
    assert figure.axes[0].get_xlabel() == "step"
    assert figure.axes[2].get_ylabel() == "channel"


def test_color_bars_end_at_the_lowest_and_the_highest_value(rng):
    model = ka.applications.LeNet5((14, 12, 1), 3, attention="san-d")
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(2, 14, 12, 1)))
    masks = np.concatenate([row[6].ravel() for row in panels(figure, 2, 7)])
    bar = figure.axes[-1]
    np.testing.assert_allclose(bar.get_xlim(), [np.nanmin(masks), np.nanmax(masks)], rtol=1e-6)
    np.testing.assert_allclose(bar.get_xticks(), bar.get_xlim(), rtol=1e-6)


def test_masks_without_contrast(lenet):
    figure = ka.inspect.plot_attention(lenet)
    assert all(np.all(shown[~np.isnan(shown)] == 0.5) for shown in panels(figure, 1, 7)[0][6:])
    ticks = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert ticks == ["0.45", "0.55"], "a scale around the only value"


def test_sequences_that_become_images(rng):
    inputs = keras.Input((6, 5))
    maps = L.Reshape((6, 5, 1))(inputs)
    y = L.Conv2D(4, 3, padding="same")(maps)
    model = keras.Model(inputs, ka.layers.SANBlock()([maps, y]))
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, 6, 5)))
    assert figure.axes[0].get_title() == "sequence"
    assert figure.axes[2].get_title() == "y\n4 channels"


# Recurrent attention

T, FEATURES, UNITS = 6, 3, 4
CELLS = {
    "lstm": lambda: L.LSTMCell(UNITS),
    "gru": lambda: L.GRUCell(UNITS),
    "simple": lambda: L.SimpleRNNCell(UNITS),
}


def masks_of_outputs(cell, sequences, states):
    """The definition: each step's mask from its input and the state before, `(B, T, features)`."""
    before = np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)
    kernel, recurrent_kernel, bias = to_numpy([cell.kernel, cell.recurrent_kernel, cell.bias])
    return 1.0 / (1.0 + np.exp(-(sequences @ kernel + before @ recurrent_kernel + bias)))


def sequence_panels(figure, rows=2):
    """Sequence, input, mask and their product, each `(B, T, features)`."""
    shown = panels(figure, rows, 4)
    return [np.stack([row[column].T for row in shown]) for column in range(4)]


def model_and_states(sequences, cell, bias, **options):
    """A model that returns the last output, and the outputs of all its steps."""
    inputs = keras.Input((None, FEATURES))
    layer = L.RNN(ka.layers.RecurrentAttention(cell), name="ran", **options)
    model = keras.Model(inputs, layer(inputs))
    layer.cell.bias.assign(bias)
    every = L.RNN(layer.cell, return_sequences=True, **options)
    return model, keras.ops.convert_to_numpy(every(sequences))


@pytest.mark.parametrize("kind", cross_section(CELLS, fast={"lstm"}))
def test_masks_of_recurrent_cells(kind, rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    model, states = model_and_states(sequences, CELLS[kind](), rng.normal(size=FEATURES))
    cell = model.get_layer("ran").cell
    figure = ka.inspect.plot_attention(model, sequences)
    sequence, inputs, mask, product = sequence_panels(figure)
    np.testing.assert_array_equal(sequence, sequences)
    np.testing.assert_array_equal(inputs, sequences)
    np.testing.assert_allclose(mask, masks_of_outputs(cell, sequences, states), atol=1e-6)
    np.testing.assert_allclose(product, sequences * mask, rtol=1e-6)
    assert (figure.axes[2].get_xlabel(), figure.axes[2].get_ylabel()) == ("step", "feature")


def test_recurrent_layers_that_go_backwards(rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    model, states = model_and_states(
        sequences, CELLS["lstm"](), np.ones(FEATURES), go_backwards=True
    )
    cell = model.get_layer("ran").cell
    expected = masks_of_outputs(cell, sequences[:, ::-1], states)[:, ::-1]
    _, _, mask, _ = sequence_panels(ka.inspect.plot_attention(model, sequences))
    np.testing.assert_allclose(mask, expected, atol=1e-6)


def test_initial_states_of_recurrent_layers(rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    inputs = keras.Input((T, FEATURES))
    start = L.Dense(UNITS)(L.GlobalAveragePooling1D()(inputs))
    layer = L.RNN(ka.layers.RecurrentAttention(CELLS["gru"]()))
    model = keras.Model(inputs, [layer(inputs, initial_state=start), start])
    state = model(sequences)[1]
    expected = keras.ops.convert_to_numpy(layer.cell.attention(sequences[:, 0], state))
    _, _, mask, _ = sequence_panels(ka.inspect.plot_attention(model, sequences))
    np.testing.assert_allclose(mask[:, 0], expected, atol=1e-6)


def test_recurrent_layers_skip_masked_steps(rng):
    sequences = rng.normal(size=(2, T, FEATURES)).astype("float32")
    padded = sequences.copy()
    padded[:, 2:4] = 0.0
    inputs = keras.Input((None, FEATURES))
    x = L.Masking()(inputs)
    layer = L.RNN(ka.layers.RecurrentAttention(CELLS["lstm"]()), name="ran")
    model = keras.Model(inputs, layer(x))
    _, _, mask, _ = sequence_panels(ka.inspect.plot_attention(model, padded))
    assert np.all(mask[:, 2:4] == 0.0)
    short = np.concatenate([sequences[:, :2], sequences[:, 4:]], axis=1)
    _, _, expected, _ = sequence_panels(ka.inspect.plot_attention(model, short))
    np.testing.assert_allclose(np.delete(mask, [2, 3], axis=1), expected, atol=1e-6)


def test_recurrent_layers_in_half_precision(rng):
    keras.config.set_dtype_policy("mixed_float16")
    model = ka.applications.LSTM4((T, FEATURES), 3, attention="ran", placement="full")
    figure = ka.inspect.plot_attention(model, rng.normal(size=(2, T, FEATURES)))
    _, _, mask, _ = sequence_panels(figure)
    assert np.all((mask > 0.0) & (mask < 1.0))


# Heads of Attend and Rectify


def make_head_model(shape, data_format="channels_last", nested=False, **options):
    inputs = keras.Input(shape)
    x = L.Conv2D(6, 3, padding="same", name="first", data_format=data_format)(inputs)
    y = L.Conv2D(8, 3, strides=2, padding="same", name="second", data_format=data_format)(x)
    pooled = L.GlobalAveragePooling2D(data_format=data_format)(y)
    head = ka.layers.AttendRectifyHead(5, 3, data_format=data_format, name="rectify", **options)
    logits = L.Dense(5, name="logits")(pooled)
    model = keras.Model(inputs, head([y, x], logits, features=pooled), name="inner")
    if nested:
        model = keras.Sequential([keras.Input(shape), model, L.Softmax()], name="outer")
    return model


def bars(axes):
    return [patch.get_width() for patch in axes.patches]


@pytest.mark.parametrize(
    ("data_format", "policy", "nested"),
    [("channels_last", "mixed_bfloat16", False), ("channels_first", "float32", True)],
)
def test_heads(data_format, policy, nested, rng, tmp_path):
    keras.config.set_dtype_policy(policy)
    last = data_format == "channels_last"
    images = rng.uniform(size=(2, 8, 12, 3)).astype("float32")
    given = images if last else np.moveaxis(images, -1, 1)
    model = make_head_model(given.shape[1:], data_format, nested)
    inner = model if not nested else model.layers[0]
    attending = ka.inspect.with_attention(inner)(given)

    figure = ka.inspect.plot_attention(model, given, tmp_path / "a.png")
    predictions = keras.ops.softmax(keras.ops.cast(attending["predictions"], "float32"))
    predictions, gates = to_numpy([predictions, attending["rectify_gates"]])
    all_axes = figure.axes[:-1]
    assert len(all_axes) == 2 * 5, "image, two modules, gates, classes; and a color bar"
    titles = [axes.get_title() for axes in all_axes[:3]]
    wanted = ["image", "module 1 (4 x 6)\ninput: second", "module 2 (8 x 12)\ninput: first"]
    assert titles == wanted
    for row in (0, 1):
        image, _, finer, weights, classes = all_axes[5 * row : 5 * row + 5]
        np.testing.assert_array_equal(image.images[0].get_array(), images[row])
        mask = to_numpy(attending["rectify_masks2"])[row]
        mask = (mask if last else np.moveaxis(mask, 0, -1))[..., 1]
        below, above = (np.ma.getdata(part.get_array()) for part in finer.images)
        np.testing.assert_allclose(below[:8, 13:25], images[row].mean(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(above[:8, 13:25], mask / mask.max(), rtol=1e-2)
        np.testing.assert_allclose(bars(weights), gates[row], rtol=1e-2)
        prediction = predictions[row]
        assert bars(classes)[-1] == pytest.approx(prediction.max(), rel=2e-2)
        assert classes.texts[-1].get_text().startswith(f"{prediction.argmax()} (")
        labels = [label.get_text() for label in weights.get_yticklabels()]
        assert labels == ["module 1", "module 2", "network", "prediction"]


def test_stripes_mark_hypotheses_of_another_class(rng):
    model = make_head_model((8, 8, 1), space="probability", gates="mean")
    images = rng.uniform(size=(1, 8, 8, 1))
    model.get_layer("logits").set_weights([np.zeros((8, 5)), 50.0 * np.eye(5)[0]])
    for module in model.get_layer("rectify").modules:
        kernel = np.zeros(module.output_kernel.shape)
        kernel[..., 3::5] = 1.0
        module.output_kernel.assign(kernel)
    model.get_layer("first").bias.assign(np.full(6, 50.0))
    model.get_layer("first").kernel.assign(np.zeros((3, 3, 1, 6)))
    model.get_layer("second").kernel.assign(np.ones((3, 3, 6, 8)))
    classes = ka.inspect.plot_attention(model, images).axes[4]
    texts = [text.get_text() for text in classes.texts]
    assert texts == ["3 (1.00)", "3 (1.00)", "0 (1.00)", "3 (0.67)"]
    assert [bool(patch.get_hatch()) for patch in classes.patches] == [False, False, True, False]


@pytest.mark.parametrize("gate", [True, False])
def test_a_module_without_a_head(gate, rng):
    inputs = keras.Input((None, None, 2))
    module = ka.layers.AttentionModule(4, heads=5, gate=gate, name="heads")
    model = keras.Sequential([inputs, L.MaxPooling2D(2), module])
    images = rng.uniform(size=(4, 8, 8, 2))
    figure = ka.inspect.plot_attention(model, images)
    assert len(figure.axes) == 3 * 3 + 1
    _, _, gates = module(model.layers[0](images), return_attention=True, return_gates=True)
    np.testing.assert_allclose(bars(figure.axes[2]), to_numpy(gates)[0], rtol=1e-5)
    assert figure.axes[1].get_title().startswith("heads (4 x 4)\ninput: ")
    assert len(figure.axes[1].texts) == 5, "a number in each tile"
    assert figure.get_suptitle().endswith(": heads")


def test_heads_beside_another_mechanism(rng):
    options = {"input_shape": (16, 16, 1), "filters": 2, "units": 4}
    model = ka.applications.ClutteredCNN(2, spatial_transformer=True, **options)
    images = rng.uniform(size=(1, 16, 16, 1))
    first = ka.inspect.plot_attention(model, images)
    assert first.axes[1].get_title() == "module 1 (2 x 2)\ninput: conv5_relu"
    frames = ka.inspect.plot_attention(model, images, layer="transformer")
    assert frames.axes[0].get_ylabel() == "transformer: input"
    with pytest.raises(ValueError, match="one of None, 'rectify', 'transformer'"):
        ka.inspect.plot_attention(model, images, layer="module1")


def test_subclassed_models_have_no_names_of_inputs(rng):
    class Small(keras.Model):
        def __init__(self):
            super().__init__()
            self.module = ka.layers.AttentionModule(3, name="heads")

        def call(self, inputs):
            return self.module(inputs)

    figure = ka.inspect.plot_attention(Small(), rng.uniform(size=(1, 6, 5, 2)))
    assert figure.axes[1].get_title() == "heads (6 x 5)"
