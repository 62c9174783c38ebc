"""What the checks of all layers are to know of each: a new one is covered by its row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

import keras_attention as ka


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


def refiner(arguments):
    """A row of PatchRefiner on a coarse map of 4 x 3."""
    return LayerCase(
        "PatchRefiner",
        arguments,
        (3, 9, 8, 2),
        (3, 3),
        8,
        parts=REFINER,
        own_precision=True,
        all_chosen={"patches": 12},
        attention_shape=(3, 4, 3),
    )


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
    refiner({"patches": 2, "patch_size": 4}),
    refiner({"patches": 3, "saliency": "autodiff", "hint_weight": 0, "fused": True}),
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
