"""Code and documentation that all builders share, after the conventions of keras.applications."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.layers import TargetLayer
from keras_attention.layers.attend_rectify import AttendRectifyHead, apply_head_activation
from keras_attention.utils.data_format import channel_axis
from keras_attention.utils.validation import (
    boolean,
    fraction,
    is_integer,
    non_negative_number,
    one_of,
    positive_integer,
    positive_number,
)

Tensor = Any
Shape = Sequence[int | None]
# Largest side of an image, length of a sequence, and number of channels or features.
LARGEST_SIDE = 2**14
# More than in any image dataset; the classifier on 1,024 channels then has a kernel of 1 GiB.
LARGEST_CLASSES = 2**18
# Texts that replace names in braces in the docstrings of builders.
SHARED_DOCSTRINGS = {
    "common_arguments": """
classes: Number of classes, the units of the last layer.
classifier_activation: Activation of the last layer. None returns logits.
include_top: If False, the layers after the last feature map are left out.
weights: None (random initialization) or the path of a file with weights.
input_tensor: Keras tensor to use as input of the model.
pooling: Output with `include_top=False`: None for the feature map, `"avg"` or `"max"` for global
    average or max pooling.
name: Name of the model.
""",
    "attention_arguments": """
attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
placement: `"bottleneck"` for attention before each layer that reduces the map, or `"full"` for
    attention after every convolution.
attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
""",
    "rectify_arguments": """
space: `"log"` or `"probability"`; see `layers.AttendRectifyHead`, also for the next arguments. With
    attention and `classifier_activation=None` the model returns the sum of log-probabilities, for
    `losses.NegativeLogLikelihood`.
gates: `"softmax"`, `"sigmoid"` or `"mean"`.
gate_normalization: If True, the scores of the gates are normalized over the batch.
mask: `"softmax"` or `"sigmoid"`.
overlap_weight: Weight of the regularizer that keeps the heads apart. Defaults to 1e-3.
gradient_scale: Factor of the gradients from the modules into the network. Defaults to 1.
""",
    "targeted_arguments": """
window: `"cauchy"` or `"gaussian"`.
scale_l2: L2 weight of the scales in the first block, for trainings as long as the paper's (section
    4.2); shorter trainings need a larger weight.
beta: Factor of `scale_l2` from each block to the next (section 4.3).
roi: `"slice"`, `"mask"` or `"full"`, see `TargetLayer`.
roi_groups: Number of shared regions of interest per layer; None for one region per kernel.
""",
    "returns": """
Returns:
    A `keras.Model` from images, with values in `[0, 1]` by convention, to the outputs of
    `classifier_activation` in float32, probabilities by default.

Raises:
    ValueError: For an invalid argument.
""",
}


def image_input(
    input_shape: Shape | None, default: Shape, input_tensor: Tensor, known_sides: bool = False
) -> Tensor:
    """Returns the input of an image model.

    Args:
        input_shape: `(H, W, channels)`, or channels first if that is Keras's setting; None for the
            default.
        default: Default shape, always channels last.
        input_tensor: Keras tensor to use as input, or None.
        known_sides: If True, H and W must be known, as for models with a Flatten layer.
    """
    if input_tensor is not None:
        _check_shape(tuple(input_tensor.shape[1:]), known_sides)
        return input_tensor
    if input_shape is None:
        first = channel_axis() == 1
        input_shape = (default[2], *default[:2]) if first else tuple(default)
    # Clients of a served model refer to the input by this name.
    return keras.Input(shape=_check_shape(input_shape, known_sides), name="images")


def sequence_input(input_shape: Shape | None, default: Shape, input_tensor: Tensor) -> Tensor:
    """Returns the input of a sequence model.

    Args:
        input_shape: `(T, features)`, where T may be None; None for the default.
        default: Default shape.
        input_tensor: Keras tensor to use as input, or None.
    """
    if input_tensor is not None:
        _check_sequence(tuple(input_tensor.shape[1:]))
        return input_tensor
    shape = tuple(default) if input_shape is None else _check_sequence(input_shape)
    return keras.Input(shape=shape, name="sequences")


def convolution(
    filters: int, kernel_size: Any, regularizer: Any, name: str, **options: Any
) -> keras.layers.Conv2D:
    """Creates a convolution, by default with "same" padding, without bias and activation."""
    defaults = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    return keras.layers.Conv2D(
        filters, kernel_size, kernel_regularizer=regularizer, name=name, **{**defaults, **options}
    )


def residual_convolution(
    x: Tensor, filters: int, kernel_size: int, strides: int, regularizer: Any, name: str
) -> Tensor:
    """Adds a convolution of a residual network."""
    if strides == 1 or kernel_size == 1:
        return convolution(filters, kernel_size, regularizer, name, strides=strides)(x)
    # As in the original, the same padding on both sides; "same" pads more at the end.
    x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    layer = convolution(filters, kernel_size, regularizer, name, strides=strides, padding="valid")
    return layer(x)


def hidden_layer(units: int, regularizer: Any, name: str) -> keras.layers.Dense:
    """Creates a dense layer with ReLU."""
    return keras.layers.Dense(
        units,
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer,
        name=name,
    )


def add_dropout(x: Tensor, rate: float, name: str) -> Tensor:
    """Adds dropout, named after the layer before it; none if the rate is 0."""
    return keras.layers.Dropout(rate, name=f"{name}_dropout")(x) if rate else x


def batch_norm(x: Tensor, name: str, regularizer: Any = None) -> Tensor:
    """Adds batch normalization, named after the layer that it normalizes."""
    # With Keras's momentum of 0.99 the statistics do not converge in short trainings.
    layer = keras.layers.BatchNormalization(
        axis=channel_axis() if len(x.shape) == 4 else -1,
        momentum=0.9,
        epsilon=1e-5,
        beta_regularizer=regularizer,
        gamma_regularizer=regularizer,
        name=f"{name}_bn",
    )
    return layer(x)


def batch_norm_relu(x: Tensor, name: str, regularizer: Any = None) -> Tensor:
    """Adds batch normalization and ReLU."""
    return keras.layers.ReLU(name=f"{name}_relu")(batch_norm(x, name, regularizer))


def classifier(
    x: Tensor,
    classes: int,
    activation: Any,
    regularizer: Any = None,
    name: str = "predictions",
    bias_regularizer: Any = None,
) -> Tensor:
    """Adds the last dense layer, in float32 with any dtype policy for exact probabilities."""
    return keras.layers.Dense(
        positive_integer("classes", classes),
        activation=activation,
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer,
        bias_regularizer=bias_regularizer,
        dtype="float32",
        name=name,
    )(x)


def pool(x: Tensor, pooling: str | None) -> Tensor:
    """Returns the output for `include_top=False`: the map, or its global average or maximum."""
    if pooling is None:
        return x
    rank = len(x.shape) - 2
    kind = {"avg": "GlobalAveragePooling", "max": "GlobalMaxPooling"}[pooling]
    return getattr(keras.layers, f"{kind}{rank}D")(name=f"{pooling}_pool")(x)


def pooled_classifier(
    x: Tensor,
    include_top: bool,
    classes: int,
    activation: Any,
    pooling: str | None,
    regularizer: Any,
    bias_regularizer: Any = None,
) -> Tensor:
    """Adds global average pooling and a classifier, or the output for `include_top=False`."""
    if not include_top:
        return pool(x, pooling)
    top = (classes, activation, regularizer)
    return classifier(pool(x, "avg"), *top, bias_regularizer=bias_regularizer)


def build_model(
    inputs: Tensor, input_tensor: Tensor, outputs: Tensor, name: str, weights: Any
) -> keras.Model:
    """Returns the model and loads its weights.

    Args:
        inputs: Input tensor of the network.
        input_tensor: The user's tensor, or None.
        outputs: Output of the network.
        name: Name of the model.
        weights: None, or the path of a weights file.
    """
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, outputs, name=name)
    if weights is not None:
        model.load_weights(weights)
    return model


def l2(weight: float, argument: str) -> Any:
    """Returns an L2 regularizer, or None if its weight is 0."""
    weight = non_negative_number(argument, weight)
    return keras.regularizers.L2(weight) if weight else None


def weight_decay_regularizer(weight_decay: float) -> Any:
    """Returns a regularizer that adds `weight_decay` times each weight to its gradient."""
    decay = non_negative_number("weight_decay", weight_decay)
    return keras.regularizers.L2(decay / 2) if decay else None


def target_layers(
    regularizer: Any, scale_l2: float, beta: float, **options: Any
) -> Callable[..., TargetLayer]:
    """Returns a function that creates a target layer in a block, from 0 (section 4.3).

    Args:
        regularizer: Regularizer of the kernels.
        scale_l2: L2 weight of the scales in the first block.
        beta: Factor of that weight from each block to the next.
        **options: Arguments of every `TargetLayer`.
    """
    first = non_negative_number("scale_l2", scale_l2)
    growth = non_negative_number("beta", beta)

    def target_layer(
        block: int, filters: int, kernel_size: int, name: str, **more: Any
    ) -> TargetLayer:
        return TargetLayer(
            filters,
            kernel_size,
            scale_regularizer=l2(first * growth**block, "scale_l2"),
            kernel_regularizer=regularizer,
            name=name,
            **{**options, **more},
        )

    return target_layer


def validate_width(width: float, fewest: int) -> None:
    """Validates the factor of the channels of a network with at least `fewest` in each layer."""
    if not int(fewest * positive_number("width", width)):
        raise ValueError(
            f"`width` must be at least 1 / {fewest}, so that a channel is left. "
            f"Received: width={width!r}"
        )


def _is_side(size: Any) -> bool:
    return is_integer(size) and 0 < int(size) <= LARGEST_SIDE


def _check_sequence(shape: Shape) -> tuple[int | None, ...]:
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    is_valid = len(sizes) == 2 and sizes[1] is not None
    if is_valid and all(size is None or _is_side(size) for size in sizes):
        return sizes
    raise ValueError(
        f"`input_shape` must be (T, features), positive integers up to {LARGEST_SIDE}; T may be "
        "None. "
        f"Received: input_shape={shape!r}"
    )


def _check_shape(shape: Shape, known_sides: bool) -> tuple[int | None, ...]:
    allowed = "(channels, H, W)" if channel_axis() == 1 else "(H, W, channels)"
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    is_valid = len(sizes) == 3 and sizes[channel_axis()] is not None
    if not is_valid or not all(size is None or _is_side(size) for size in sizes):
        raise ValueError(
            f"`input_shape` must be {allowed}, positive integers up to {LARGEST_SIDE}; H and W may "
            "be None. "
            f"Received: input_shape={shape!r}"
        )
    if known_sides and None in sizes:
        raise ValueError(
            "`input_shape` must contain H and W with `include_top=True`, because the first dense "
            f"layer has a weight for each pixel. Received: input_shape={shape!r}"
        )
    return sizes


def validate_common_arguments(model: str, arguments: Mapping[str, Any]) -> None:
    """Validates the arguments that all builders share.

    Args:
        model: Name of the model, for error messages.
        arguments: All arguments of the builder by name.
    """
    _check_classes(arguments["classes"])
    _check_options(arguments.get("attention_options"))
    keras.activations.get(arguments["classifier_activation"])
    boolean("include_top", arguments["include_top"])
    one_of("pooling", arguments["pooling"], (None, "avg", "max"))
    _check_tensor(arguments["input_tensor"])
    _check_name(arguments["name"])
    _check_weights(model, arguments["weights"])
    non_negative_number("weight_decay", arguments["weight_decay"])
    for rate in ("dropout", "hidden_dropout"):
        fraction(rate, arguments.get(rate, 0.0))


def _check_classes(classes: Any) -> None:
    if positive_integer("classes", classes) > LARGEST_CLASSES:
        raise ValueError(
            f"`classes` must be at most {LARGEST_CLASSES}. Received: classes={classes!r}"
        )


def _check_options(options: Any) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(
            "`attention_options` must be a dictionary of arguments, or None. "
            f"Received: attention_options={options!r}"
        )


def _check_tensor(tensor: Any) -> None:
    if tensor is not None and not keras.backend.is_keras_tensor(tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor, such as `keras.Input(...)`. "
            f"Received: input_tensor={tensor!r}"
        )


def _check_name(name: Any) -> None:
    if not (name is None or (isinstance(name, str) and name and "/" not in name)):
        raise ValueError(f"`name` must be a string without '/', or None. Received: name={name!r}")


def _check_weights(model: str, weights: Any) -> None:
    is_path = isinstance(weights, (str, os.PathLike))
    if weights is not None and not (is_path and _is_file(Path(weights))):
        raise ValueError(
            "`weights` must be None (random initialization) or the path of a file written by "
            f"`save_weights` or `save`; there are no published weights of {model}. "
            f"Received: weights={weights!r}"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # the path is invalid on this file system
        return False


def deepest_maps(attention_depth: int, maps: Sequence[Tensor], smallest: int = 1) -> list[Tensor]:
    """Returns the maps for attention modules, deepest first.

    Args:
        attention_depth: Number of maps.
        maps: All available maps, deepest last.
        smallest: Smallest allowed depth, 0 or 1.
    """
    if is_integer(attention_depth) and smallest <= attention_depth <= len(maps):
        return list(reversed(maps))[: int(attention_depth)]
    raise ValueError(
        f"`attention_depth` must be an integer from {smallest} to {len(maps)}, the number of maps. "
        f"Received: attention_depth={attention_depth!r}"
    )


def rectified_classifier(
    maps: Sequence[Tensor], features: Tensor, x: Tensor, activation: Any, head: AttendRectifyHead
) -> Tensor:
    """Adds a classifier and an attention head that rectifies its predictions.

    Args:
        maps: Maps of the attention modules, deepest first.
        features: Pooled features of the gates.
        x: Input of the classifier.
        activation: Activation of the predictions; None returns log-probabilities.
        head: The head.
    """
    decay = head.regularizer
    logits = classifier(x, head.classes, None, decay, "logits", bias_regularizer=decay)
    return apply_head_activation(head(list(maps), logits, features), head.space, activation)
