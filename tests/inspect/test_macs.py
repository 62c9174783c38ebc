import keras
import numpy as np
import pytest

import keras_attention as ka
from tests import harness, model_cases

L = keras.layers
LARGE = [("WideResNet", 40, 8.1), ("WARN", 40, 8.2)]


@pytest.mark.parametrize(
    ("name", "input_shape", "millions"),
    harness.cross_section(
        [
            ("CNN6", (28, 28, 1), 368.4),
            ("CNN6", (56, 56, 1), 1470),
            ("DN10", (28, 28, 1), 11.3),
            ("DN10", (56, 56, 1), 45.2),
            ("DN40", (32, 32, 3), 357),
            ("TDN40", (48, 48, 3), 802),
            ("STN", (32, 32, 3), 145),
        ],
        fast={"CNN6", "DN10"},
    ),
)
def test_counts_of_targeted_kernel_networks(name, input_shape, millions):
    model = ka.applications.build(name, input_shape=input_shape)
    assert ka.inspect.count_macs(model) == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "depth", "billions"),
    [pytest.param(*case, marks=pytest.mark.slow) for case in [("WARN", 28, 5.3), *LARGE]],
)
def test_counts_of_attend_and_rectify(name, depth, billions):
    keras.config.set_dtype_policy("bfloat16")  # less memory
    model = ka.applications.build(name, depth=depth, width=10)
    assert ka.inspect.count_macs(model) == pytest.approx(billions * 1e9, rel=0.015)


def test_shapes_of_data_sets():
    images, _ = ka.datasets.load("digits", "test", 4, size=28).element_spec
    model = keras.Sequential([keras.Input((None, None, 1)), L.Conv2D(2, 3, padding="same")])
    assert ka.inspect.count_macs(model, images.shape[1:]) == 28 * 28 * 9 * 2


def test_attention_modules():
    """The counts contain the convolutions for attention and for the scores of the gates."""
    options = {"input_shape": (16, 16, 3), "weight_decay": 0.0}
    model = ka.applications.WARN(10, 1, attention_depth=2, attention_width=4, **options)
    per_layer = ka.inspect.count_macs(model, per_layer=True)
    pixels, channels, maps = (4 * 4, 8 * 8), (64, 32), 4 * (10 + 1)
    for depth in (0, 1):
        convolutions = pixels[depth] * 9 * channels[depth] * (4 + maps)
        sums = pixels[depth] * maps + 4 * 10
        assert per_layer[f"module{depth + 1}"] == convolutions + sums
    assert per_layer["gate"] == 64 * 3
    executed = ka.inspect.count_macs(model, per_layer=True, executed=True)
    attention, sums = 16 * 9 * 64 * 4, 16 * 9 * 64 * 4
    assert executed["module1"] == attention + sums + 9 * 64 * maps + 4 * 10
    assert executed["conv0"] == per_layer["conv0"]


def profiled_macs(model):
    """Half the floating-point operations that TensorFlow's profiler finds in the graph."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2_as_graph,
    )

    spec = tf.TensorSpec((1, *model.input_shape[1:]))
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    _, graph = convert_variables_to_constants_v2_as_graph(concrete)
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph, name="")
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        profile = tf.compat.v1.profiler.profile(graph=imported, options=options)
    return profile.total_float_ops / 2


@pytest.mark.skipif(not harness.ON_TENSORFLOW, reason="TensorFlow's profiler")
@pytest.mark.parametrize("name", ["CNN6", "DN10"])
def test_models_count_as_in_the_tensorflow_profiler(name):
    model = ka.applications.build(name, input_shape=(28, 28, 1))
    # The profiler counts ReLU, pooling and biases too, and normalisation more than once.
    assert ka.inspect.count_macs(model) == pytest.approx(profiled_macs(model), rel=0.02)


@pytest.mark.skipif(not harness.ON_TENSORFLOW, reason="TensorFlow's profiler")
@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(6, 3, strides=2, padding="same"),
        L.DepthwiseConv2D(3, depth_multiplier=2),
        L.SeparableConv2D(5, 3),
        L.Conv2DTranspose(3, 2, strides=2),
        L.Dense(7),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_count_as_in_the_tensorflow_profiler(layer):
    clone = layer.from_config({**layer.get_config(), "use_bias": False})
    model = keras.Sequential([keras.Input((12, 14, 4)), clone])
    assert ka.inspect.count_macs(model) == pytest.approx(profiled_macs(model), rel=1e-3)


def test_grouped_convolutions():
    grouped = L.Conv2D(6, (3, 2), groups=2, padding="same")  # the profiler counts it as 0
    model = keras.Sequential([keras.Input((5, 7, 4)), grouped])
    assert ka.inspect.count_macs(model) == 5 * 7 * 6 * (3 * 2 * 4 // 2)


def test_spatial_transformers():
    per_layer = ka.inspect.count_macs(ka.applications.STN(), per_layer=True)
    first, again = 16 * 16 * 7 * 7 * 3 * 16, 32 * 32 * 7 * 7 * 3 * 128
    assert per_layer["conv1"] == first, "the localization network comes first, at half the size"
    assert per_layer["conv1 (2)"] == again
    assert per_layer["affine"] == 64 * 6 + 6


@pytest.mark.parametrize(
    "name", harness.cross_section(["TKN6", "TDN10", "TSTN", "TDN40"], fast={"TKN6"})
)
def test_targeted_models_count_their_regions(name):
    model = model_cases.ModelCase(name).make(input_shape=(16, 16, 1))
    targets = [layer for layer in model.layers if hasattr(layer, "rois")]
    dense = ka.inspect.count_macs(model)
    for layer in targets:
        layer.scale.assign(np.full(layer.scale.shape, 0.4))
    per_layer = ka.inspect.count_macs(model, per_layer=True)
    assert sum(per_layer.values()) == ka.inspect.count_macs(model) < dense
    for layer in targets:
        shape = layer.input.shape
        assert per_layer[layer.name] == layer.macs((1, *shape[1:]))
    executed = ka.inspect.count_macs(model, executed=True)
    assert ka.inspect.count_macs(model) <= executed <= dense


def test_shared_and_nested_layers_count_every_call():
    shared = L.Conv2D(3, 3, padding="same", use_bias=False, name="shared")
    inner_inputs = keras.Input((8, 8, 3))
    inner = keras.Model(inner_inputs, shared(shared(inner_inputs)), name="inner")
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, inner(inputs) + shared(inputs))
    assert ka.inspect.count_macs(model, per_layer=True) == {"shared": 3 * 64 * 81}


def test_layers_with_the_same_name():
    parts = [
        keras.Sequential([keras.Input((4,)), L.Dense(n, use_bias=False, name="dense")], name=str(n))
        for n in (2, 3)
    ]
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [part(inputs) for part in parts])
    per_layer = ka.inspect.count_macs(model, per_layer=True)
    assert sorted(per_layer) == ["dense", "dense (2)"]
    assert sorted(per_layer.values()) == [8, 12]


def test_several_inputs():
    inputs = {"a": keras.Input((None, 4), name="a"), "b": keras.Input((6,), name="b")}
    model = keras.Model(inputs, [L.Dense(2)(inputs["a"]), L.Dense(3)(inputs["b"])])
    assert ka.inspect.count_macs(model, {"a": (5, 4), "b": (6,)}) == 5 * 5 * 2 + 7 * 3


def test_unknown_size():
    model = ka.applications.DN10(input_shape=(None, None, 1))
    assert ka.inspect.count_macs(model, (28, 28, 1)) == ka.inspect.count_macs(
        model, (None, 28, 28, 1)
    )
    with pytest.raises(ValueError, match="must give all sizes"):
        ka.inspect.count_macs(model)
    with pytest.raises(ValueError, match=r"fit \(None, None, 1\)"):
        ka.inspect.count_macs(model, (28, 28, 3))


def test_layers_without_a_rule():
    model = keras.Sequential([keras.Input((5, 3)), L.EinsumDense("abc,cd->abd", (None, 4))])
    with pytest.warns(UserWarning, match=r"count as 0 MACs.*EinsumDense"):
        ka.inspect.count_macs(model)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (L.LSTM(4), 5 * 4 * (3 * 4 + 4 * 4)),
        (L.GRU(4), 5 * 3 * (3 * 4 + 4 * 4)),
        (L.Bidirectional(L.SimpleRNN(4)), 2 * 5 * (3 * 4 + 4 * 4)),
        (L.RNN(ka.layers.RecurrentAttention(L.SimpleRNNCell(4))), 5 * (28 + 3 * 3 + 4 * 3)),
    ],
)
def test_recurrent_layers(layer, macs):
    assert ka.inspect.count_macs(keras.Sequential([keras.Input((5, 3)), layer])) == macs


def test_scale_space_attention():
    """The count contains the smoothing and two products per value, as the paper's tables do."""
    inputs = keras.Input((6, 5, 3))
    model = keras.Model(inputs, ka.layers.SANBlock()([inputs, inputs]))
    assert ka.inspect.count_macs(model) == 6 * 5 * (9 * 3 * 3 + 2 * 3)
    thin = keras.Model(inputs, ka.layers.SANBlock(smoothing="depthwise")([inputs, inputs]))
    assert ka.inspect.count_macs(thin) == 6 * 5 * (9 * 3 + 2 * 3)


def test_subclassed_models():
    class Small(keras.Model):
        def __init__(self):
            super().__init__()
            self.convolution = L.Conv2D(2, 3, padding="same")

        def call(self, inputs):
            return self.convolution(inputs)

    assert ka.inspect.count_macs(Small(), (4, 5, 1)) == 20 * 18
    with pytest.raises(ValueError, match="`input_shape` must be passed"):
        ka.inspect.count_macs(Small())


def test_summary_table():
    models = {name: ka.applications.build(name) for name in ("DN10", "TDN10")}
    table = ka.inspect.summary_table(models, columns={"error %": [0.48, "-"]}, title="ours")
    cells = {column.header: list(column.cells) for column in table.columns}
    assert cells == {
        "model": ["DN10", "TDN10"],
        "parameters": ["44,746", "45,034"],
        "MACs": ["11.3M", "11.3M"],
        "error %": ["0.48", "-"],
    }


def test_columns_of_another_length():
    with pytest.raises(ValueError, match=r"must have 1 values.*'error %'. with 2"):
        ka.inspect.summary_table({"DN10": ka.applications.DN10()}, columns={"error %": [1, 2]})


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1e3, "1K"), (45.2e6, "45.2M"), (1.47e9, "1.47G")]
)
def test_short_numbers(value, text):
    assert ka.inspect.short_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(999_400, "999K"), (999_700, "1M"), (999.9e9, "1000G"), (2e12, "2000G")]
)
def test_short_numbers_close_to_the_next_unit(value, text):
    assert ka.inspect.short_number(value) == text


def td(layer, shape):
    """MACs of a layer in TimeDistributed, on input without batch axis."""
    model = keras.Sequential([keras.Input(shape), L.TimeDistributed(layer)])
    return ka.inspect.count_macs(model)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (L.Conv2D(6, 3, padding="same"), (7, 5, 4, 3), 7 * 5 * 4 * 9 * 3 * 6),
        (L.Conv1D(6, 3), (7, 5, 3), 7 * 3 * 3 * 3 * 6),
        (L.DepthwiseConv2D(3), (7, 5, 4, 3), 7 * 3 * 2 * 9 * 3),
        (L.SeparableConv2D(6, 3), (7, 5, 4, 3), 7 * 3 * 2 * (9 * 3 + 3 * 6)),
        (L.Conv2DTranspose(6, 2, strides=2), (7, 5, 4, 3), 7 * 5 * 4 * 4 * 3 * 6),
        (L.Dense(6), (7, 3), 7 * (3 + 1) * 6),
        (L.Dense(6), (7, 5, 3), 7 * 5 * (3 + 1) * 6),
        (L.TimeDistributed(L.Conv2D(6, 3)), (7, 2, 5, 4, 3), 7 * 2 * 3 * 2 * 9 * 3 * 6),
        (L.LSTM(4), (7, 5, 3), 7 * 5 * 4 * (3 * 4 + 4 * 4)),
        (L.Bidirectional(L.SimpleRNN(4)), (7, 5, 3), 7 * 2 * 5 * (3 * 4 + 4 * 4)),
        (L.BatchNormalization(), (7, 5, 4, 3), 7 * 5 * 4 * 3),
        (L.ReLU(), (7, 5, 4, 3), 0),
        (L.SpectralNormalization(L.Conv2D(6, 3)), (7, 5, 4, 3), 7 * 3 * 2 * 9 * 3 * 6),
    ],
)
def test_time_distributed_layers(layer, shape, macs):
    assert td(layer, shape) == macs


def test_time_distributed_mechanisms():
    """Layers with a rule of their own count their current regions in each step."""
    layer = ka.layers.TargetLayer(4, 3)
    model = keras.Sequential([keras.Input((5, 8, 6, 3)), L.TimeDistributed(layer)])
    layer.scale.assign(np.full(layer.scale.shape, 0.2))
    assert ka.inspect.count_macs(model) == 5 * layer.macs((1, 8, 6, 3)) < 5 * 48 * 27 * 4
    executed = ka.inspect.count_macs(model, executed=True)
    assert executed == 5 * layer.macs((1, 8, 6, 3), executed=True)


def test_time_distributed_models():
    inner = keras.Sequential([keras.Input((6, 5, 3)), L.Conv2D(4, 3, name="conv")], name="inner")
    inner.add(L.Flatten())
    inner.add(L.Dense(2, name="dense"))
    per_step = 4 * 3 * 9 * 3 * 4 + (4 * 3 * 4 + 1) * 2
    inputs = keras.Input((7, 6, 5, 3))
    model = keras.Model(inputs, L.TimeDistributed(inner, name="steps")(inputs))
    assert ka.inspect.count_macs(model, per_layer=True) == {"steps": 7 * per_step}
    both = keras.Model(inputs, [model.output, inner(inputs[:, 0])])
    assert ka.inspect.count_macs(both) == 8 * per_step, "the layers inside count elsewhere, too"


def test_time_distributed_over_an_unknown_number_of_steps():
    inputs = keras.Input((None, 6, 5, 3))
    model = keras.Model(inputs, L.TimeDistributed(L.Conv2D(4, 3))(inputs))
    assert ka.inspect.count_macs(model, (9, 6, 5, 3)) == 9 * 4 * 3 * 9 * 3 * 4
    with pytest.raises(ValueError, match=r"must give all sizes and fit \(None, 6, 5, 3\)"):
        ka.inspect.count_macs(model)


def test_time_distributed_layers_without_a_rule():
    layer = L.TimeDistributed(L.EinsumDense("abc,cd->abd", (None, 4)))
    model = keras.Sequential([keras.Input((6, 5, 3)), layer])
    with pytest.warns(UserWarning, match=r"count as 0 MACs.*EinsumDense"):
        assert ka.inspect.count_macs(model) == 0


@pytest.mark.parametrize("return_sequences", [False, True])
def test_convolutional_recurrent_layers(return_sequences):
    layer = L.ConvLSTM2D(4, 3, padding="same", return_sequences=return_sequences)
    model = keras.Sequential([keras.Input((7, 6, 5, 3)), layer])
    assert ka.inspect.count_macs(model) == 7 * 6 * 5 * 9 * (3 + 4) * 4 * 4
