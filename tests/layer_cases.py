"""Test cases of all layers: every test in the harness runs on each case."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

import keras_attention as ka


@dataclass(frozen=True)
class LayerCase:
    """A layer with its arguments, and its expected properties.

    Attributes:
        name: Name in `ka.layers`.
        arguments: Arguments of the layer.
        input_shape: Input shape, or a list of shapes for several inputs.
        output_shape: Expected output shape.
        trainable_weights: Expected number of trainable weights.
        non_trainable_weights: Expected number of non-trainable weights.
        idle_weights: Ends of the paths of weights that get no gradient.
        num_losses: Expected number of losses, such as regularizers.
        supports_masking: If True, the layer passes masks through.
        parts: Arguments that are layers: functions from a data format to the layer.
        has_dtype_of_parts: If True, the output has the dtype of the parts.
        unambiguous_choice: Arguments with which rounding cannot change a choice, such as that of
            the most salient positions.
        attention_shape: Shape of the attention; None for maps of the shape of the output with
            values in `[0, 1]`.
        wrap: Function from a cell to a layer.
    """

    name: str
    arguments: dict[str, Any]
    input_shape: Any
    output_shape: tuple[int, ...]
    trainable_weights: int
    non_trainable_weights: int = 0
    idle_weights: tuple[str, ...] = ()
    num_losses: int = 0
    supports_masking: bool = False
    parts: dict[str, Callable[[str | None], keras.Layer]] = field(default_factory=dict)
    has_dtype_of_parts: bool = False
    unambiguous_choice: dict[str, Any] = field(default_factory=dict)
    attention_shape: tuple[int, ...] | None = None
    wrap: Callable[[keras.Layer], keras.Layer] | None = None

    @property
    def main_shape(self):
        """Shape of the input, or of the last of several inputs."""
        return self.input_shape[-1] if isinstance(self.input_shape, list) else self.input_shape

    def data(self, rng, batch=None, like=None):
        """Random inputs; `like` rounds them to a dtype of lower precision."""

        def draw(shape):
            x = rng.normal(size=(batch or shape[0], *shape[1:])).astype("float32")
            return (
                x
                if like is None
                else np.asarray(keras.ops.cast(keras.ops.cast(x, like), "float32"))
            )

        is_list = isinstance(self.input_shape, list)
        return [draw(shape) for shape in self.input_shape] if is_list else draw(self.input_shape)

    def inputs(self, sides=None):
        """Keras inputs; with `sides="any"` the spatial sizes are None."""

        def one(shape):
            unknown = [None] * (len(shape) - 2)
            return keras.Input([*(unknown if sides == "any" else shape[1:-1]), shape[-1]])

        is_list = isinstance(self.input_shape, list)
        return [one(shape) for shape in self.input_shape] if is_list else one(self.input_shape)

    def options(self, data_format=None):
        """Arguments of the layer, including its parts."""
        parts = {name: part(data_format) for name, part in self.parts.items()}
        return {**self.arguments, **parts}

    def make(self, **more):
        """Creates the layer, with more arguments."""
        layer = getattr(ka.layers, self.name)(**{**self.options(more.get("data_format")), **more})
        return self.wrap(layer) if self.wrap else layer

    def __str__(self):
        options = "-".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.name}-{len(self.main_shape) - 2}d-{options}"


def rnn_of(cell):
    """A recurrent layer around a cell, with the cell's dtype policy."""
    return keras.layers.RNN(cell, return_sequences=True, dtype=cell.dtype_policy)


def localization_network(data_format):
    """A localization network whose output does not depend on positions."""
    pool = keras.layers.GlobalAveragePooling2D(data_format=data_format)
    return keras.Sequential([pool, keras.layers.Dense(4, activation="tanh")])


def coarse_model(data_format):
    """A model from an image to a map of 4 channels."""
    return keras.Sequential(
        [keras.layers.Conv2D(4, 3, 2, activation="tanh", data_format=data_format)]
    )


def fine_model(data_format):
    """A model from a patch to a vector of length 4."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 2, activation="tanh", data_format=data_format),
            keras.layers.GlobalAveragePooling2D(data_format=data_format),
        ]
    )


def top_model(data_format):
    """A model from the map to probabilities."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(5, 2, activation="relu", data_format=data_format),
            keras.layers.GlobalMaxPooling2D(data_format=data_format),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


REFINER = {"coarse": coarse_model, "fine": fine_model, "top": top_model}


def patch_refiner_case(arguments):
    """A case of PatchRefiner with a coarse map of 4 x 3."""
    return LayerCase(
        "PatchRefiner",
        arguments,
        (3, 9, 8, 2),
        (3, 3),
        8,
        parts=REFINER,
        has_dtype_of_parts=True,
        unambiguous_choice={"patches": 12},
        attention_shape=(3, 4, 3),
    )


def on_two_maps(head):
    """A model of a head, from two maps, logits and features."""
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
    LayerCase("AttentiveRegularization", {}, (2, 7, 3), (2, 7, 3), 2, supports_masking=True),
    LayerCase(
        "AttentiveRegularization",
        {"window": "gaussian", "scale_regularizer": L2},
        (2, 4, 5, 3),
        (2, 4, 5, 3),
        2,
        num_losses=1,
        supports_masking=True,
    ),
    LayerCase(
        "AttentiveRegularization", {}, (2, 4, 5, 3, 2), (2, 4, 5, 3, 2), 2, supports_masking=True
    ),
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
        num_losses=1,
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
        parts={"localization": localization_network},
        attention_shape=(2, 2, 3),
    ),
    LayerCase(
        "SpatialTransformer",
        {"output_size": (4, 7)},
        (2, 6, 5, 3),
        (2, 4, 7, 3),
        4,
        parts={"localization": localization_network},
        attention_shape=(2, 2, 3),
    ),
    LayerCase("SANBlock", {}, [(2, 6, 5, 2), (2, 6, 5, 3)], (2, 6, 5, 3), 2, supports_masking=True),
    LayerCase(
        "SANBlock",
        {"kernel_size": (3, 2), "dilation_rate": 2, "smoothing": "depthwise", "activation": "tanh"},
        [(2, 12, 10, 1), (2, 6, 5, 3)],
        (2, 6, 5, 3),
        2,
        supports_masking=True,
    ),
    LayerCase(
        "SANBlock",
        {"dilation_rate": 4},
        [(2, 9, 4), (2, 6, 3)],
        (2, 6, 3),
        2,
        supports_masking=True,
    ),
    LayerCase(
        "SANBlock",
        {"absolute": False, "channel_alignment": False, "kernel_regularizer": L2},
        [(2, 7, 3), (2, 7, 3)],
        (2, 7, 3),
        2,
        num_losses=1,
        supports_masking=True,
    ),
    LayerCase(
        "SANBlock",
        {"smoothing": "depthwise"},
        [(2, 4, 6, 5, 1), (2, 4, 3, 5, 2)],
        (2, 4, 3, 5, 2),
        2,
        supports_masking=True,
    ),
    LayerCase("CBAM", {"reduction": 2}, (2, 6, 5, 4), (2, 6, 5, 4), 7, non_trainable_weights=2),
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
        num_losses=2,
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
    patch_refiner_case({"patches": 2, "patch_size": 4}),
    patch_refiner_case({"patches": 3, "saliency": "autodiff", "hint_weight": 0, "fused": True}),
    LayerCase(
        "RecurrentAttention",
        {},
        (2, 5, 3),
        (2, 5, 4),
        6,
        parts={"cell": lambda data_format: keras.layers.LSTMCell(4)},
        wrap=rnn_of,
    ),
]
