"""Models that are hard to copy and to rebuild, with inputs for each of them."""

import functools

import keras
import numpy as np
from keras import ops

from keras_attention.graph.functional import functional_graph

L = keras.layers
SHAPE = (8, 8, 3)


class Scale(L.Layer):
    """An unregistered layer with arguments that are not tensors, and no `build`."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.mix = factor, L.Dense(4, name="mix")

    def call(self, inputs, offset, sign=1.0, mask_from=None):
        outputs = self.mix(inputs) * self.factor * sign + offset
        return outputs if mask_from is None else outputs * ops.cast(mask_from > 0, outputs.dtype)


def block(shape=(8, 8, 4), layer=None, name="block"):
    inputs = keras.Input(shape)
    layer = layer or L.Conv2D(4, 3, padding="same", use_bias=False, name=f"{name}_conv")
    x = L.BatchNormalization(name=f"{name}_norm")(layer(inputs))
    return keras.Model(inputs, L.ReLU(name=f"{name}_relu")(x), name=name)


def head(x):
    x = L.MaxPooling2D(name="pool")(x)
    return L.Dense(3, name="top")(L.GlobalAveragePooling2D(name="pooled")(x))


def operations():
    """Nodes that are operations without weights."""
    images = keras.Input(SHAPE, name="images")
    x = (images / 255.0)[..., ::-1]
    x = L.Conv2D(4, 3, name="conv")(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
    y = L.Conv2D(4, 3, padding="same", name="other")(x)
    x = ops.concatenate([ops.relu(x + y), x * y], axis=-1) - ops.mean(y, axis=-1, keepdims=True)
    return keras.Model(images, head(x), name="operations")


def preprocessing():
    """State that is not among the weights: statistics, vocabularies, bin boundaries, seeds."""
    normalization = L.Normalization(name="statistics")
    normalization.adapt(np.random.default_rng(0).normal(120, 50, (64, *SHAPE)).astype("float32"))
    images = keras.Input(SHAPE, name="images")
    x = L.Conv2D(4, 3, padding="same", name="conv")(normalization(images))
    x = L.SpectralNormalization(L.Conv2D(4, 3, padding="same"), name="spectral")(x)
    x = L.Dropout(0.5, seed=1, name="dropout")(x)
    bins = L.Discretization(num_bins=3, output_mode="one_hot", name="bins")
    bins.adapt(np.random.default_rng(1).normal(size=(90, 1)))
    lookup = L.IntegerLookup(output_mode="multi_hot", name="lookup")
    lookup.adapt(np.array([3, 5, 7]))
    number = keras.Input((1,), name="number")
    code = keras.Input((1,), dtype="int64", name="code")
    x = L.Concatenate(name="all")([head(x), bins(number), lookup(code)])
    model = keras.Model([images, number, code], L.Dense(2, name="last")(x), name="preprocessing")
    model.get_layer("dropout")(np.ones((1, 4), "float32"), training=True)  # the seed advances
    model.get_layer("conv").trainable = False
    return model


def shared():
    """A layer that is called several times, and a nested model that is."""
    images = keras.Input(SHAPE, name="images")
    layer, inner = L.Conv2D(4, 3, padding="same", name="shared"), block()
    x = layer(layer(L.Conv2D(4, 1, name="first")(images)))
    return keras.Model(images, head(inner(inner(x)) + layer(x)), name="shared_model")


def nested():
    """Models in models in models, functional and sequential."""
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), block(name="deep"), L.Rescaling(0.5), block(name="deeper")],
        name="inner",
    )
    middle = keras.Input((8, 8, 4))
    middle = keras.Model(middle, inner(middle)[..., ::-1] + 1.0, name="middle")
    images = keras.Input(SHAPE, name="images")
    x = middle(L.Conv2D(4, 3, padding="same", name="first")(images))
    return keras.Model(images, head(x), name="nested")


def sequential():
    return keras.Sequential(
        [
            keras.Input(SHAPE, name="images"),
            L.Rescaling(1 / 255.0, name="rescaling"),
            L.Conv2D(4, 3, padding="same", name="conv"),
            L.BatchNormalization(name="norm"),
            block(),
            L.MaxPooling2D(name="pool"),
            L.Flatten(name="flat"),
            L.Dense(3, name="top"),
        ],
        name="sequential_model",
    )


def across_levels():
    """A layer that a model and its nested model both call. Keras cannot save such models."""
    images = keras.Input(SHAPE, name="images")
    layer = L.Conv2D(4, 3, padding="same", name="shared")
    inner = block(layer=layer)
    return keras.Model(
        images, head(inner(layer(L.Conv2D(4, 1, name="first")(images)))), name="both"
    )


def structures():
    """Inputs and outputs in dictionaries, lists and tuples."""
    left, right = keras.Input(SHAPE, name="left"), keras.Input(SHAPE, name="right")
    x = L.Conv2D(4, 3, padding="same", name="conv")(left)
    y = L.Conv2D(4, 3, padding="same", name="other")(right)
    inner_inputs = {"a": keras.Input((8, 8, 4), name="a"), "b": keras.Input((8, 8, 4), name="b")}
    both = {"sum": L.Add()(list(inner_inputs.values())), "a": inner_inputs["a"] * 2.0}
    found = keras.Model(inner_inputs, both, name="pair")({"a": x, "b": y})
    outputs = {"top": head(found["sum"]), "maps": [found["a"], (y, left)]}
    return keras.Model({"left": left, "right": right}, outputs, name="structures")


def arguments():
    """Arguments that are not tensors, keyword tensors, and a layer that is not registered."""
    images = keras.Input(SHAPE, name="images")
    x = L.Conv2D(4, 3, padding="same", name="conv")(images)
    scale = Scale(name="scale")
    x = scale(x, offset=0.5, sign=-1.0)
    x = scale(x, offset=1.0, mask_from=x)
    x = L.BatchNormalization(name="norm")(x, training=False)
    tokens = L.Reshape((16, 16), name="tokens")(x)
    attended = L.MultiHeadAttention(2, 4, name="attention")(tokens, value=tokens, key=tokens)
    x = L.Reshape((8, 8, 4), name="back")(attended) + x
    return keras.Model(images, head(x), name="arguments")


def wrappers():
    """Layers in layers, and masks."""
    words = keras.Input((6,), dtype="int32", name="words")
    x = L.Embedding(9, 4, mask_zero=True, name="embedding")(words)
    x = L.Bidirectional(L.LSTM(3, return_sequences=True), name="both_ways")(x)
    x = L.TimeDistributed(L.Dense(4), name="each")(x)
    return keras.Model(words, L.GRU(3, name="last")(x), name="wrappers")


WITHOUT_IMAGES = {"wrappers": wrappers}
WITH_IMAGES = {
    make.__name__: make
    for make in (
        operations,
        preprocessing,
        shared,
        nested,
        sequential,
        across_levels,
        structures,
        arguments,
    )
}
NETWORKS = ("MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny")


@functools.cache
def model_of(name):
    """A model with random weights and statistics."""
    keras.utils.set_random_seed(0)
    if name in NETWORKS:
        model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=4)
    else:
        model = {**WITH_IMAGES, **WITHOUT_IMAGES}[name]()
    generator = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, L.BatchNormalization):
            for weight in layer.weights:
                weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return model


@functools.cache
def inputs_of(name):
    generator = np.random.default_rng(1)

    def values(tensor):
        shape = (2, *tensor.shape[1:])
        if "int" in tensor.dtype:
            return generator.integers(0, 9, shape)
        return generator.uniform(0, 255, shape).astype("float32")

    return keras.tree.map_structure(values, functional_graph(model_of(name)).input)
