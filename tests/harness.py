"""The checks that every layer and every model gets. A new one is covered by its row below."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from hypothesis import settings
from keras.src.testing import TestCase

import keras_attention as ka
from keras_attention import backend
from keras_attention.applications import targeted_densenet40

# JAX compiles every operation for every shape by itself: there a few examples do.
ON_TENSORFLOW = backend.BACKEND == "tensorflow"
# Of the six in a block of DN40, which are all alike.
FEW_LAYERS = 2
slow_on_jax = pytest.mark.skipif(not ON_TENSORFLOW, reason="minutes of compilation")


def examples(count):
    """Settings of hypothesis: how many examples, fewer where each takes seconds."""
    return settings(max_examples=count if ON_TENSORFLOW else 2, deadline=None)


@dataclass(frozen=True)
class LayerCase:
    """How to make a layer of a kind, and what it takes and returns.

    `input_shape` is a list of shapes for layers of several inputs. `parts` are arguments that are
    layers: functions that make one for a data format, and with `own_precision` the layer answers in
    theirs; `wrap` puts cells into a layer. `all_chosen` are arguments with which no choice hangs on
    a rounding.
    `attention_shape` is None for maps of the shape of the output, with values in `[0, 1]`.
    """

    name: str
    arguments: dict[str, Any]
    input_shape: Any
    output_shape: tuple[int, ...]
    trainable_weights: int
    other_weights: int = 0
    idle_weights: tuple[str, ...] = ()
    losses: int = 0
    masks: bool = False
    parts: dict[str, Callable[[str | None], keras.Layer]] = field(default_factory=dict)
    own_precision: bool = False
    all_chosen: dict[str, Any] = field(default_factory=dict)
    attention_shape: tuple[int, ...] | None = None
    wrap: Callable[[keras.Layer], keras.Layer] | None = None

    @property
    def main_shape(self):
        """The shape of the input, of the last of several."""
        return self.input_shape[-1] if isinstance(self.input_shape, list) else self.input_shape

    def data(self, rng, batch=None, like=None):
        """Random inputs; `like` rounds them to a type of less precision."""

        def draw(shape):
            x = rng.normal(size=(batch or shape[0], *shape[1:])).astype("float32")
            return (
                x
                if like is None
                else np.asarray(keras.ops.cast(keras.ops.cast(x, like), "float32"))
            )

        several = isinstance(self.input_shape, list)
        return [draw(shape) for shape in self.input_shape] if several else draw(self.input_shape)

    def inputs(self, sides=None):
        """Keras tensors; `sides` of `"any"` leaves the sizes open."""

        def one(shape):
            free = [None] * (len(shape) - 2)
            return keras.Input([*(free if sides == "any" else shape[1:-1]), shape[-1]])

        several = isinstance(self.input_shape, list)
        return [one(shape) for shape in self.input_shape] if several else one(self.input_shape)

    def options(self, data_format=None):
        parts = {name: part(data_format) for name, part in self.parts.items()}
        return {**self.arguments, **parts}

    def make(self, **more):
        layer = getattr(ka.layers, self.name)(**{**self.options(more.get("data_format")), **more})
        return self.wrap(layer) if self.wrap else layer

    def __str__(self):
        options = "-".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.name}-{len(self.main_shape) - 2}d-{options}"


@dataclass(frozen=True)
class ModelCase:
    """How to make a small model of a kind, and the step that its loss follows downhill.

    `answers` are the classes of each output. `idle` are names of parts that no gradient reaches.
    """

    name: str
    input_shape: tuple[int, ...] = (12, 10, 2)
    arguments: dict[str, Any] = field(default_factory=dict)
    rate: float = 1e-3
    answers: tuple[int, ...] = (3,)
    idle: tuple[str, ...] = ()

    @property
    def idle_weights(self):
        return BAM_IDLE if self.arguments.get("attention") == "bam" else self.idle

    def make(self, **more):
        arguments = {"input_shape": self.input_shape, "classes": 3, **self.arguments, **more}
        with mock.patch.dict(targeted_densenet40.SIZES, layers=FEW_LAYERS):
            return ka.applications.build(self.name, **arguments)

    @property
    def is_sequence(self):
        return len(self.input_shape) == 2

    def __str__(self):
        return "-".join([self.name, *map(str, self.arguments.values())])


def steps_of(cell):
    """A recurrent layer around a cell, of the cell's precision."""
    return keras.layers.RNN(cell, return_sequences=True, dtype=cell.dtype_policy)


def look_at_the_mean(data_format):
    """A localization: what it returns does not depend on where the image is."""
    pool = keras.layers.GlobalAveragePooling2D(data_format=data_format)
    return keras.Sequential([pool, keras.layers.Dense(4, activation="tanh")])


def coarse_layers(data_format):
    """From an image to a map of vectors of 4."""
    return keras.Sequential(
        [keras.layers.Conv2D(4, 3, 2, activation="tanh", data_format=data_format)]
    )


def fine_layers(data_format):
    """From a patch to such a vector."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 2, activation="tanh", data_format=data_format),
            keras.layers.GlobalAveragePooling2D(data_format=data_format),
        ]
    )


def top_layers(data_format):
    """From the map to probabilities."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(5, 2, activation="relu", data_format=data_format),
            keras.layers.GlobalMaxPooling2D(data_format=data_format),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


REFINER = {"coarse": coarse_layers, "fine": fine_layers, "top": top_layers}


def on_two_maps(head):
    """A model around a head, from two maps, logits and features."""
    sizes = [(None, None, 4), (None, None, 3), (3,), (5,)]
    first, second, logits, features = inputs = [keras.Input(size) for size in sizes]
    return keras.Model(inputs, head([first, second], logits, features))


L2 = "l2"
BAM_IDLE = (
    "channel_hidden/bias",
    "spatial_conv1/bias",
    "spatial_conv2/bias",
    "spatial_conv3/bias",
)
LAYER_CASES = [
    LayerCase("AttentiveRegularization", {}, (2, 7, 3), (2, 7, 3), 2, masks=True),
    LayerCase(
        "AttentiveRegularization",
        {"window": "gaussian", "scale_regularizer": L2},
        (2, 4, 5, 3),
        (2, 4, 5, 3),
        2,
        losses=1,
        masks=True,
    ),
    LayerCase("AttentiveRegularization", {}, (2, 4, 5, 3, 2), (2, 4, 5, 3, 2), 2, masks=True),
    LayerCase("TargetLayer", {"filters": 6, "kernel_size": 3}, (2, 6, 5, 3), (2, 6, 5, 6), 3),
    LayerCase(
        "TargetLayer",
        {
            "filters": 6,
            "kernel_size": (2, 3),
            "window": "gaussian",
            "roi": "mask",
            "use_bias": True,
            "activation": "tanh",
            "dilation_rate": 2,
            "scale_regularizer": L2,
        },
        (2, 6, 5, 3),
        (2, 6, 5, 6),
        4,
        losses=1,
    ),
    LayerCase(
        "TargetLayer",
        {"filters": 6, "kernel_size": 3, "roi": "full", "roi_groups": 4, "min_roi_size": 2},
        (2, 6, 5, 3),
        (2, 6, 5, 6),
        3,
    ),
    LayerCase(
        "SpatialTransformer",
        {},
        (2, 6, 5, 3),
        (2, 6, 5, 3),
        4,
        parts={"localization": look_at_the_mean},
        attention_shape=(2, 2, 3),
    ),
    LayerCase(
        "SpatialTransformer",
        {"output_size": (4, 7)},
        (2, 6, 5, 3),
        (2, 4, 7, 3),
        4,
        parts={"localization": look_at_the_mean},
        attention_shape=(2, 2, 3),
    ),
    LayerCase("SANBlock", {}, [(2, 6, 5, 2), (2, 6, 5, 3)], (2, 6, 5, 3), 2, masks=True),
    LayerCase(
        "SANBlock",
        {"kernel_size": (3, 2), "dilation_rate": 2, "smoothing": "depthwise", "activation": "tanh"},
        [(2, 12, 10, 1), (2, 6, 5, 3)],
        (2, 6, 5, 3),
        2,
        masks=True,
    ),
    LayerCase("SANBlock", {"dilation_rate": 4}, [(2, 9, 4), (2, 6, 3)], (2, 6, 3), 2, masks=True),
    LayerCase(
        "SANBlock",
        {"absolute": False, "channel_alignment": False, "kernel_regularizer": L2},
        [(2, 7, 3), (2, 7, 3)],
        (2, 7, 3),
        2,
        losses=1,
        masks=True,
    ),
    LayerCase("CBAM", {"reduction": 2}, (2, 6, 5, 4), (2, 6, 5, 4), 7, other_weights=2),
    LayerCase(
        "CBAM",
        {"reduction": 1, "pools": ["lp", "lse"], "spatial": False},
        (2, 6, 5, 3),
        (2, 6, 5, 3),
        4,
    ),
    LayerCase("BAM", {"reduction": 2}, (4, 6, 5, 4), (4, 6, 5, 4), 20, 8, BAM_IDLE),
    LayerCase(
        "BAM",
        {"reduction": 1, "dilation_rate": 2, "merge": "sum"},
        (4, 6, 5, 3),
        (4, 6, 5, 3),
        20,
        8,
        BAM_IDLE,
    ),
    LayerCase(
        "AttentionModule",
        {"classes": 3, "heads": 2},
        (2, 6, 5, 4),
        (2, 3),
        3,
        attention_shape=(2, 6, 5, 2),
    ),
    LayerCase(
        "AttentionModule",
        {"classes": 3, "heads": 2, "mask": "sigmoid", "gate": False, "kernel_regularizer": L2},
        (2, 6, 5, 4),
        (2, 2, 3),
        2,
        losses=2,
        attention_shape=(2, 6, 5, 2),
    ),
    LayerCase(
        "AttendRectifyHead",
        {"classes": 3, "heads": 2},
        [(4, 3, 2, 4), (4, 6, 5, 3), (4, 3), (4, 5)],
        (4, 3),
        9,
        wrap=on_two_maps,
    ),
    LayerCase(
        "PatchRefiner",
        {"patches": 2, "patch_size": 4},
        (3, 9, 8, 2),
        (3, 3),
        8,
        parts=REFINER,
        own_precision=True,
        all_chosen={"patches": 12},
        attention_shape=(3, 4, 3),
    ),
    LayerCase(
        "PatchRefiner",
        {"patches": 3, "saliency": "autodiff", "hint_weight": 0, "fused": True},
        (3, 9, 8, 2),
        (3, 3),
        8,
        parts=REFINER,
        own_precision=True,
        all_chosen={"patches": 12},
        attention_shape=(3, 4, 3),
    ),
    LayerCase(
        "RecurrentAttention",
        {},
        (2, 5, 3),
        (2, 5, 4),
        6,
        parts={"cell": lambda data_format: keras.layers.LSTMCell(4)},
        wrap=steps_of,
    ),
]
# Numbers of two digits. The coarse layers say where to look: what they learn, they learn before.
NUMBERS = {
    "input_shape": (60, 140, 2),
    "arguments": {"width": 0.05, "digits": 2},
    "answers": (2, 4, 4),
}
IDLE_COARSE = tuple(
    f"coarse_{layer}/{weight}"
    for layer in (
        *(f"conv{index}" for index in range(1, 6)),
        "hidden1",
        "hidden2",
        "answers",
    )
    for weight in ("kernel", "bias")
)
# Tracing 18 layers that slice takes seconds each time: smaller networks do, this one masks.
# A step of 1e-3 overshoots where batch normalization sees four images and a warp depends on it.
# A larger one outweighs that running statistics, which change with it, choose other patches.
# Narrow networks do. A recurrent network's gradients are small.
SPECIAL_MODELS: dict[str, dict[str, Any]] = {
    "TDN40": {"arguments": {"roi": "mask"}},
    "STN": {"rate": 1e-4},
    "TSTN": {"rate": 1e-4},
    "LSTM4": {"input_shape": (12, 5), "rate": 0.1},
    "LeNet5": {"input_shape": (20, 18, 2)},
    "VGG16": {"input_shape": (33, 34, 2), "arguments": {"width": 4, "units": 16}},
    "WARN": {"arguments": {"depth": 10, "width": 0.25, "attention_width": 2}},
    "ClutteredCNN": {"arguments": {"filters": 4, "units": 8}},
    "ResNet18": {"arguments": {"width": 4, "stem": "cifar"}},
    "ResNet50": {"arguments": {"width": 4, "stem": "cifar"}, "rate": 1e-4},
    "NINThin": {"arguments": {"width": 0.1}},
    "DCNCoarse": {"input_shape": (27, 31, 2)},
    "DCNFine": {"input_shape": (27, 31, 2)},
    "DCN": {"input_shape": (27, 31, 2), "arguments": {"patches": 3}, "rate": 1e-2},
    "SVHNCoarse": NUMBERS,
    "SVHNFine": NUMBERS,
    "SVHNDCN": {
        **NUMBERS,
        "arguments": {"width": 0.05, "digits": 2, "patches": 1},
        "idle": IDLE_COARSE,
    },
}
# Built by the same lines as VGG16, ResNet18, WARN, NINThin and TKN6, or parts of DCN and SVHNDCN:
# tests of their own count their weights.
SIBLINGS = {"VGG19", "ResNet34", "WideResNet", "NINWide", "CNN6"}
SIBLINGS |= {"DCNCoarse", "DCNFine", "SVHNCoarse", "SVHNFine"}
if not ON_TENSORFLOW:  # of the same layers as others
    SIBLINGS |= {"DN40", "TDN40", "STN", "ResNet50", "TSTN", "VGG16", "NINThin"}
MODEL_CASES = [
    ModelCase(name, **SPECIAL_MODELS.get(name, {}))
    for name in ka.applications.list_models()
    if name not in SIBLINGS
]
MODEL_CASES += [
    ModelCase("LeNet5", (20, 18, 2), {"attention": attention})
    for attention in ("cbam", "bam", "san-c", "san-d")
]
MODEL_CASES.append(ModelCase("NINThin", arguments={"width": 0.1, "batch_normalization": False}))
MODEL_CASES += [
    ModelCase("LSTM4", (12, 5), {"attention": attention, "placement": "full"}, rate=0.3)
    for attention in ("ran", "san")
]


def run_keras_layer_test(case):
    """Keras's own checks: configuration, symbolic and eager calls, training, mixed precision."""
    TestCase().run_layer_test(
        getattr(ka.layers, case.name),
        init_kwargs=case.options(),
        input_shape=case.input_shape,
        expected_output_shape=case.output_shape,
        expected_num_trainable_weights=case.trainable_weights,
        expected_num_non_trainable_weights=case.other_weights,
        expected_num_seed_generators=0,
        expected_num_losses=case.losses,
        supports_masking=case.masks,
        # Its generator of training data knows no lists.
        run_training_check=not isinstance(case.input_shape, list),
    )


def model_of_layer(case, sides=None, **more):
    """A model of one layer; `sides="any"` leaves the sizes open."""
    inputs = case.inputs(sides)
    model = keras.Model(inputs, case.make(**more)(inputs))
    jitter(model)
    return model


def jitter(model):
    """Moves trainable weights off their first values, where constraints and symmetry hide."""
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        values, factors = weight.numpy(), generator.uniform(0.75, 0.95, weight.shape)
        # A kernel of zeros lets no gradient through.
        weight.assign(values * factors if values.any() else 0.1 * (factors - 0.85))


def without_dropout(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return model


def check_training_step(model, x, y, loss, rate=1e-3, idle=()):
    """A step lowers the loss and moves every trainable weight, but for the idle ones.

    These are biases before a normalization, which takes them away.
    """
    model.compile(keras.optimizers.SGD(rate), loss)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    with warnings.catch_warnings():
        if idle:
            warnings.filterwarnings("ignore", "Gradients do not exist")
        first = model.train_on_batch(x, y)
    still = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(weight.numpy(), old) and not weight.path.endswith(tuple(idle))
    ]
    assert not still, f"no gradient reached {still}"
    assert model.train_on_batch(x, y) < first


def value_and_gradients(layer, inputs, weights):
    """Outputs of a layer, and gradients of a fixed function of them by inputs and weights."""
    if backend.BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            x = tf.constant(inputs)
            tape.watch(x)
            outputs = layer(x)
            loss = keras.ops.sum(keras.ops.square(outputs) * weights)
        variables = [variable.value for variable in layer.trainable_variables]
        return [outputs.numpy(), *(g.numpy() for g in tape.gradient(loss, [x, *variables]))]
    import jax

    def loss(values, x):
        outputs, _ = layer.stateless_call(values, [], x)
        return keras.ops.sum(keras.ops.square(outputs) * weights), outputs

    values = [variable.value for variable in layer.trainable_variables]
    gradients, outputs = jax.grad(loss, argnums=(0, 1), has_aux=True)(values, inputs)
    return [np.asarray(array) for array in (outputs, gradients[1], *gradients[0])]


def to_channels_first(arrays):
    return keras.tree.map_structure(lambda array: np.moveaxis(array, -1, 1), arrays)


def to_channels_last(array):
    return np.moveaxis(array, 1, -1)


def shapes(arrays):
    return keras.tree.map_structure(lambda array: array.shape, arrays)
