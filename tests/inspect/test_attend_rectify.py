"""The pictures of attention modules hold the layers' own masks, gates and answers."""

import keras
import numpy as np
import pytest

import keras_attention as ka

L = keras.layers


def make_model(shape, data_format="channels_last", nested=False, **options):
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


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def bars(axes):
    return [patch.get_width() for patch in axes.patches]


@pytest.mark.parametrize(
    ("data_format", "policy", "nested"),
    [("channels_last", "mixed_bfloat16", False), ("channels_first", "float32", True)],
)
def test_panels_of_a_head(data_format, policy, nested, rng, tmp_path):
    keras.config.set_dtype_policy(policy)
    last = data_format == "channels_last"
    images = rng.uniform(size=(2, 8, 12, 3)).astype("float32")
    given = images if last else np.moveaxis(images, -1, 1)
    model = make_model(given.shape[1:], data_format, nested)
    inner = model if not nested else model.layers[0]
    probe = ka.inspect.with_attention(inner)(given)

    figure = ka.inspect.plot_attention(model, given, tmp_path / "a.png")
    answers = numbers(keras.ops.softmax(keras.ops.cast(probe["predictions"], "float32")))
    panels, gates = figure.axes[:-1], numbers(probe["rectify_gates"])
    assert len(panels) == 2 * 5, "image, two modules, gates, classes; and a color bar"
    titles = [axes.get_title() for axes in panels[:3]]
    wanted = ["image", "module 1 (4 x 6)\nreads second", "module 2 (8 x 12)\nreads first"]
    assert titles == wanted
    for row in (0, 1):
        image, _, finer, shares, said = panels[5 * row : 5 * row + 5]
        np.testing.assert_array_equal(image.images[0].get_array(), images[row])
        mask = numbers(probe["rectify_masks2"])[row]
        mask = (mask if last else np.moveaxis(mask, 0, -1))[..., 1]
        below, above = (np.ma.getdata(part.get_array()) for part in finer.images)
        np.testing.assert_allclose(below[:8, 13:25], images[row].mean(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(above[:8, 13:25], mask / mask.max(), rtol=1e-2)
        np.testing.assert_allclose(bars(shares), gates[row], rtol=1e-2)
        answer = answers[row]
        assert bars(said)[-1] == pytest.approx(answer.max(), rel=2e-2)
        assert said.texts[-1].get_text().startswith(f"{answer.argmax()} (")
        labels = [label.get_text() for label in shares.get_yticklabels()]
        assert labels == ["module 1", "module 2", "network", "answer"]


def test_stripes_show_who_says_another_class(rng):
    model = make_model((8, 8, 1), space="probability", gates="mean")
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
def test_a_module_by_itself(gate, rng):
    inputs = keras.Input((None, None, 2))
    module = ka.layers.AttentionModule(4, heads=5, gate=gate, name="heads")
    model = keras.Sequential([inputs, L.MaxPooling2D(2), module])
    images = rng.uniform(size=(4, 8, 8, 2))
    figure = ka.inspect.plot_attention(model, images)
    assert len(figure.axes) == 3 * 3 + 1
    _, _, gates = module(model.layers[0](images), return_attention=True, return_gates=True)
    np.testing.assert_allclose(bars(figure.axes[2]), numbers(gates)[0], rtol=1e-5)
    assert figure.axes[1].get_title().startswith("heads (4 x 4)\nreads ")
    assert len(figure.axes[1].texts) == 5, "a number in each tile"
    assert figure.get_suptitle().endswith(": heads")


def test_by_name_beside_another_mechanism(rng):
    options = {"input_shape": (16, 16, 1), "filters": 2, "units": 4}
    model = ka.applications.ClutteredCNN(2, spatial_transformer=True, **options)
    images = rng.uniform(size=(1, 16, 16, 1))
    first = ka.inspect.plot_attention(model, images)
    assert first.axes[1].get_title() == "module 1 (2 x 2)\nreads conv5_relu"
    frames = ka.inspect.plot_attention(model, images, layer="transformer")
    assert frames.axes[0].get_ylabel() == "transformer: looks at"
    with pytest.raises(ValueError, match="one of None, 'rectify', 'transformer'"):
        ka.inspect.plot_attention(model, images, layer="module1")


def test_subclassed_models_do_not_say_what_is_read(rng):
    class Small(keras.Model):
        def __init__(self):
            super().__init__()
            self.module = ka.layers.AttentionModule(3, name="heads")

        def call(self, inputs):
            return self.module(inputs)

    figure = ka.inspect.plot_attention(Small(), rng.uniform(size=(1, 6, 5, 2)))
    assert figure.axes[1].get_title() == "heads (6 x 5)"
