"""What every builder shares: the conventions of keras.applications."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.layers.attend_rectify import AttendRectifyHead, answered
from keras_attention.limits import checked_weight
from keras_attention.utils.validation import (
    flag,
    is_integer,
    non_negative_number,
    one_of,
    positive_integer,
    share,
)

Tensor = Any
Shape = Sequence[int | None]
# Of an image or a sequence, and of its channels or features.
LARGEST_SIDE = 2**14
# More than in any data set of pictures; a top of 1,024 channels then has a weight of 1 GiB.
MOST_CLASSES = 2**18
POOLINGS = (None, "avg", "max")


def channel_axis() -> int:
    """Axis of the channels in Keras's current image data format."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def image_input(
    input_shape: Shape | None, default: Shape, input_tensor: Tensor, known_sides: bool = False
) -> Tensor:
    """Makes the input of an image model.

    Args:
        input_shape: `(H, W, channels)`, or channels first where that is Keras's setting; None for
            the default.
        default: The shape for None, always channels last.
        input_tensor: A Keras tensor to build on, or None.
        known_sides: Whether the model needs the number of pixels, as flattening ones do.

    Returns:
        A Keras tensor with four axes.

    Raises:
        ValueError: For a shape that cannot be an image's.
    """
    if input_tensor is not None:
        _check_shape(tuple(input_tensor.shape[1:]), known_sides)
        return input_tensor
    if input_shape is None:
        first = channel_axis() == 1
        input_shape = (default[2], *default[:2]) if first else tuple(default)
    # A name of its own: it is what clients of a served model call the input.
    return keras.Input(shape=_check_shape(input_shape, known_sides), name="images")


def sequence_input(input_shape: Shape | None, default: Shape, input_tensor: Tensor) -> Tensor:
    """Makes the input of a model of sequences.

    Args:
        input_shape: `(T, features)`, T may be None; None for the default.
        default: The shape for None.
        input_tensor: A Keras tensor to build on, or None.

    Returns:
        A Keras tensor with three axes.

    Raises:
        ValueError: For a shape that cannot be a sequence's.
    """
    if input_tensor is not None:
        _check_sequence(tuple(input_tensor.shape[1:]))
        return input_tensor
    shape = tuple(default) if input_shape is None else _check_sequence(input_shape)
    return keras.Input(shape=shape, name="sequences")


def batch_normalized(x: Tensor, name: str, regularizer: Any = None) -> Tensor:
    """Batch normalization, named after what it prepares or follows."""
    # Keras's momentum of 0.99 leaves short trainings with unsettled statistics.
    layer = keras.layers.BatchNormalization(
        axis=channel_axis() if len(x.shape) == 4 else -1,
        momentum=0.9,
        epsilon=1e-5,
        beta_regularizer=regularizer,
        gamma_regularizer=regularizer,
        name=f"{name}_bn",
    )
    return layer(x)


def normalized(x: Tensor, name: str, regularizer: Any = None) -> Tensor:
    """Batch normalization and ReLU, named likewise."""
    return keras.layers.ReLU(name=f"{name}_relu")(batch_normalized(x, name, regularizer))


def classifier(
    x: Tensor,
    classes: int,
    activation: Any,
    regularizer: Any = None,
    name: str = "predictions",
    bias_regularizer: Any = None,
) -> Tensor:
    """The last dense layer, in float32 whatever the policy, so that probabilities are exact."""
    checked_weight((x.shape[-1], classes), classes=classes)
    return keras.layers.Dense(
        positive_integer("classes", classes),
        activation=activation,
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer,
        bias_regularizer=bias_regularizer,
        dtype="float32",
        name=name,
    )(x)


def flattened(x: Tensor, units: int) -> Tensor:
    """A map as a vector, for a dense layer of so many units that fits into memory."""
    checked_weight((math.prod(x.shape[1:]), units), input_shape=tuple(x.shape[1:]), units=units)
    return keras.layers.Flatten(name="flatten")(x)


def pool(x: Tensor, pooling: str | None) -> Tensor:
    """What `include_top=False` returns: the map, or its global mean or maximum."""
    if pooling is None:
        return x
    rank = len(x.shape) - 2
    kind = {"avg": "GlobalAveragePooling", "max": "GlobalMaxPooling"}[pooling]
    return getattr(keras.layers, f"{kind}{rank}D")(name=f"{pooling}_pool")(x)


def finish(
    inputs: Tensor, input_tensor: Tensor, outputs: Tensor, name: str, weights: Any
) -> keras.Model:
    """Makes the model and loads its weights.

    Args:
        inputs: The tensor that the network was built on.
        input_tensor: The caller's tensor, or None.
        outputs: The network's output.
        name: The model's name.
        weights: None, or the path of a weights file.
    """
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, outputs, name=name)
    if weights is not None:
        model.load_weights(weights)
    return model


def l2(weight: float, argument: str) -> Any:
    """An L2 regularizer, or None where its weight is 0."""
    weight = non_negative_number(argument, weight)
    return keras.regularizers.L2(weight) if weight else None


def decay_of_all_weights(weight_decay: float) -> Any:
    """What adds `weight_decay` times a weight to its gradient, or None where that is 0."""
    decay = non_negative_number("weight_decay", weight_decay)
    return keras.regularizers.L2(decay / 2) if decay else None


def scale_l2_of_blocks(scale_l2: float, beta: float) -> Callable[[int], Any]:
    """The regularizer of the scales in each block: L2 that grows by beta, section 4.3."""
    first = non_negative_number("scale_l2", scale_l2)
    growth = non_negative_number("beta", beta)
    return lambda block: l2(first * growth**block, "scale_l2")


def _is_side(size: Any) -> bool:
    return is_integer(size) and 0 < int(size) <= LARGEST_SIDE


def _check_sequence(shape: Shape) -> tuple[int | None, ...]:
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    fine = len(sizes) == 2 and sizes[1] is not None
    if fine and all(size is None or _is_side(size) for size in sizes):
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
    fine = len(sizes) == 3 and sizes[channel_axis()] is not None
    fine = fine and all(size is None or _is_side(size) for size in sizes)
    if not fine:
        raise ValueError(
            f"`input_shape` must be {allowed}, positive integers up to {LARGEST_SIDE}; H and W may "
            "be None. "
            f"Received: input_shape={shape!r}"
        )
    if known_sides and None in sizes:
        raise ValueError(
            f"`input_shape` must give H and W where `include_top=True`: the first dense layer has "
            f"a weight for each pixel. Received: input_shape={shape!r}"
        )
    return sizes


def check_common(model: str, arguments: Mapping[str, Any]) -> None:
    """Checks what has one meaning in all models.

    Args:
        model: Its name, for the errors.
        arguments: All arguments of a builder, by name.

    Raises:
        ValueError: For a value that no model takes.
    """
    _check_classes(arguments["classes"])
    _check_options(arguments.get("attention_options"))
    keras.activations.get(arguments["classifier_activation"])
    flag("include_top", arguments["include_top"])
    one_of("pooling", arguments["pooling"], POOLINGS)
    _check_tensor(arguments["input_tensor"])
    _check_name(arguments["name"])
    _check_weights(model, arguments["weights"])
    non_negative_number("weight_decay", arguments["weight_decay"])
    for rate in ("dropout", "hidden_dropout"):
        share(rate, arguments.get(rate, 0.0))


def _check_classes(classes: Any) -> None:
    if positive_integer("classes", classes) > MOST_CLASSES:
        raise ValueError(f"`classes` must be at most {MOST_CLASSES}. Received: classes={classes!r}")


def _check_options(options: Any) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(
            "`attention_options` must be a dictionary of arguments, or None. "
            f"Received: attention_options={options!r}"
        )


def _check_tensor(tensor: Any) -> None:
    if tensor is not None and not keras.backend.is_keras_tensor(tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor, as `keras.Input` makes. "
            f"Received: input_tensor={tensor!r}"
        )


def _check_name(name: Any) -> None:
    if not (name is None or (isinstance(name, str) and name and "/" not in name)):
        raise ValueError(f"`name` must be a text without '/', or None. Received: name={name!r}")


def _check_weights(model: str, weights: Any) -> None:
    is_path = isinstance(weights, (str, os.PathLike))
    if weights is not None and not (is_path and _is_file(Path(weights))):
        raise ValueError(
            "`weights` must be None (random) or the path of a file that `save_weights` or `save` "
            f"wrote; none are published for {model}. Received: weights={weights!r}"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file system takes
        return False


def taps(attention_depth: int, maps: Sequence[Tensor], least: int = 1) -> list[Tensor]:
    """The maps to attend to, the deepest first.

    Args:
        attention_depth: How many.
        maps: All that can be, the deepest last.
        least: 0 where none is allowed.

    Raises:
        ValueError: For a depth that is not there.
    """
    if is_integer(attention_depth) and least <= attention_depth <= len(maps):
        return list(reversed(maps))[: int(attention_depth)]
    raise ValueError(
        f"`attention_depth` must be an integer from {least} to {len(maps)}, the layers that can be "
        f"attended to. Received: attention_depth={attention_depth!r}"
    )


def rectified(
    maps: Sequence[Tensor], features: Tensor, x: Tensor, activation: Any, head: AttendRectifyHead
) -> Tensor:
    """Adds a classifier and a head that rectifies what it says.

    Args:
        maps: What the modules look at, the deepest first.
        features: What the gates look at, pooled.
        x: What the classifier reads.
        activation: Of the answer; None leaves the logarithms of its probabilities.
        head: The modules and gates.
    """
    decay = head.regularizer
    logits = classifier(x, head.classes, None, decay, "logits", bias_regularizer=decay)
    return answered(head(list(maps), logits, features), head.space, activation)
