"""Networks that read house numbers in images of any size.

References: Almahairi et al., Dynamic Capacity Networks (2016), section 4.2 and appendix 6.2;
Goodfellow et al., Multi-digit Number Recognition from Street View Imagery (2013).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    channel_axis,
    decay_of_all_weights,
    finish,
    image_input,
    pool,
)
from keras_attention.applications.multi_digit_parts import (
    PATCH,
    MultiDigitParts,
    answer_sizes,
    at_scales,
    checked_scales,
    joined_answers,
    named_answers,
    split_answers,
)
from keras_attention.applications.registry import register
from keras_attention.layers.dynamic_capacity import PatchRefiner
from keras_attention.ops.multi_digit import most_probable_sequence

GRAYSCALE = (None, None, 1)


@register
def SVHNCoarse(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "svhn_coarse",
    *,
    digits: int = 5,
    weighting: str = "mean",
    scales: Sequence[float] = (1.0,),
    width: float = 1.0,
    dropout: float = 0.2,
    hidden_dropout: float = 0.5,
    weight_decay: float = 0.0,
) -> keras.Model:
    """The coarse layers for house numbers and their top: table 2's coarse and soft-attention model.

    Seven convolutions without padding: 5x5 of 24, 48 and 128 channels with stride 2, 4x5 of 192
    with stride 1x2, 1x4 of 192, two 1x1 of 1024. A place of the map sees 53x109 pixels, and says
    the length of a number and each digit; the model returns the means over the places, a list of
    answers named `length`, `digit1` and so on. Labels are lists too:

        model.compile("sgd", "sparse_categorical_crossentropy")
        dataset = dataset.map(lambda x, y: (x, ka.ops.split_sequence_labels(y)))

    2,131,292 trainable parameters. `get_layer("coarse")` and `get_layer("top")` are models for any
    size; see `SVHNDCN`.

    Args:
        input_shape: `(H, W, channels)`; `(None, None, 1)` by default. Images smaller than 54x110
            get zeros below and to the right.
        classes: Of a digit; 10 by default. Each answer has one more, "none".
        classifier_activation: `"softmax"` for probabilities; None for their logarithms.
        include_top: Whether to answer; else the map is returned.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        digits: The most that a number has; 5 by default.
        weighting: Of the places: `"mean"` (default, equation 11), or `"entropy"`, the soft
            attention of equations 12 to 14.
        scales: Factors of the image's sides; the answers are averaged. `(1,)` by default; the paper
            has 0.75 and 0.5 too.
        width: Factor of the channels; 1 by default.
        dropout: Rate behind convolutions; 0.2 by default, the paper's.
        hidden_dropout: Rate behind those of 1x1; 0.5 by default, the paper's for fully connected
            layers.
        weight_decay: Of all kernels, in their gradients; 0 by default, the paper names none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to a list of `1 + digits` float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = SVHNCoarse(width=0.25)
    >>> answers = model(keras.ops.ones((2, 64, 128, 1)))
    >>> [tuple(answer.shape) for answer in answers[:2]], model.output_names[:2]
    ([(2, 5), (2, 11)], ['length', 'digit1'])
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    coarse = parts.coarse(inputs.shape[channel_axis()])
    top = parts.top(answer_sizes(classes, digits), weighting, "coarse")
    given = (include_top, classifier_activation, pooling)
    x = _answered(inputs, coarse, top, scales, *given)
    return finish(inputs, input_tensor, x, name, weights)


@register
def SVHNFine(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "svhn_fine",
    *,
    digits: int = 5,
    weighting: str = "mean",
    scales: Sequence[float] = (1.0,),
    width: float = 1.0,
    dropout: float = 0.2,
    hidden_dropout: float = 0.5,
    weight_decay: float = 0.0,
) -> keras.Model:
    """The fine layers for house numbers and their top: table 2's fine model.

    Eleven convolutions: 5x5 of 48, 64, 128, 160 and 192 channels with zeros around and 2x2 pooling
    behind the first, third and fifth, which rounds up; three 3x3 of 192 and three 1x1 of 1024
    without padding. 54x110 pixels end as 1x8 places. Each says the length of a number and each
    digit; the model returns the means over the places, as `SVHNCoarse` does. 4,917,628 trainable
    parameters.

    Args:
        input_shape: `(H, W, channels)`; `(None, None, 1)` by default. Images smaller than 54x110
            get zeros below and to the right.
        classes: Of a digit; 10 by default. Each answer has one more, "none".
        classifier_activation: `"softmax"` for probabilities; None for their logarithms.
        include_top: Whether to answer; else the map is returned.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        digits: The most that a number has; 5 by default.
        weighting: Of the places: `"mean"` (default) or `"entropy"`; see `SVHNCoarse`.
        scales: Factors of the image's sides; the answers are averaged. `(1,)` by default.
        width: Factor of the channels; 1 by default.
        dropout: Rate behind convolutions; 0.2 by default, the paper's.
        hidden_dropout: Rate behind those of 1x1; 0.5 by default, the paper's for fully connected
            layers.
        weight_decay: Of all kernels, in their gradients; 0 by default, the paper names none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to a list of `1 + digits` float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> SVHNFine((54, 110, 1), width=0.25, include_top=False).output_shape
    (None, 1, 8, 256)
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    fine = parts.fine(inputs.shape[channel_axis()])
    top = parts.top(answer_sizes(classes, digits), weighting, "fine")
    given = (include_top, classifier_activation, pooling)
    x = _answered(inputs, fine, top, scales, *given)
    return finish(inputs, input_tensor, x, name, weights)


@register
def SVHNDCN(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "svhn_dcn",
    *,
    patches: int = 6,
    scales: Sequence[float] = (1.0,),
    weighting: str = "mean",
    coarse: keras.Model | None = None,
    fine: keras.Model | None = None,
    digits: int = 5,
    width: float = 1.0,
    dropout: float = 0.2,
    hidden_dropout: float = 0.5,
    weight_decay: float = 0.0,
) -> keras.Model:
    """A Dynamic Capacity Network for house numbers: fine layers read six patches of the image.

    The patches are those with which the entropy of the digits in a coarse answer changes most
    (equation 10). The fine answers alone are averaged; coarse layers only say where to look, and
    get no gradient. The two are trained apart and joined, on the same weights:

        coarse, fine = SVHNCoarse(), SVHNFine()  # compile and fit each
        model = SVHNDCN(coarse=coarse, fine=fine, patches=3, scales=(1.0, 0.75, 0.5))

    7,048,920 trainable parameters. The layer `"refiner"` is a `layers.PatchRefiner`.

    Args:
        input_shape: `(H, W, channels)`; `(None, None, 1)` by default. Images smaller than 54x110
            get zeros below and to the right. A size that is given must have as many places as
            `patches`; of others all are read where there are fewer.
        classes: Of a digit; 10 by default. Given models have their own.
        classifier_activation: `"softmax"` for probabilities; None for their logarithms.
        include_top: Whether to average; else what is said of each patch is returned,
            `(patches, 1, all classes)`.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        patches: How many are read at each scale; 6 by default, the paper's for one scale. For two
            and three it has 3.
        scales: Factors of the image's sides; the answers are averaged. `(1,)` by default; the paper
            has 0.75 and 0.5 too.
        weighting: Of the patches: `"mean"` (default) or `"entropy"`, equations 12 to 14.
        coarse: A trained `SVHNCoarse`; None for new layers.
        fine: A trained `SVHNFine`; None for new layers.
        digits: The most that a number has; 5 by default. Given models have their own.
        width: Factor of the channels of new layers; 1 by default.
        dropout: Rate behind convolutions of new layers; 0.2 by default.
        hidden_dropout: Rate behind new layers of 1x1; 0.5 by default.
        weight_decay: Of all kernels of new layers, in their gradients; 0 by default.

    Returns:
        A `keras.Model` from images in `[0, 1]` to a list of `1 + digits` float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be, and for
            models that do not go together.

    Example:
    >>> model = SVHNDCN(width=0.25, patches=3, scales=(1.0, 0.5))
    >>> read_numbers(model(keras.ops.ones((2, 80, 200, 1))))[0].isdigit()
    True
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    channels = inputs.shape[channel_axis()]
    sizes = _sizes(answer_sizes(classes, digits), coarse, fine)
    looks = _part(coarse, "coarse") or parts.coarse(channels)
    reads = _part(fine, "fine") or parts.fine(channels)
    refiner = PatchRefiner(
        looks,
        joined_answers(reads, _part(fine, "top") or parts.top(sizes, "mean", "fine"), channels),
        _part(coarse, "top") or parts.top(sizes, "mean", "coarse"),
        patches,
        PATCH,
        combine="fine_only",
        hint_weight=0.0,
        fine_top=split_answers(sizes, weighting),
        outputs=tuple(range(1, len(sizes))),
        include_top=include_top,
        name="refiner",
    )
    x = at_scales(inputs, checked_scales(scales, include_top), refiner)
    x = named_answers(x, classifier_activation) if include_top else pool(x[0], pooling)
    return finish(inputs, input_tensor, x, name, weights)


def read_numbers(answers: Sequence[Any]) -> list[str]:
    """Reads what a network for house numbers says, or the labels it learns from.

    Args:
        answers: What the model returns or predicts, probabilities; or labels `(B, 1 + digits)`,
            integers: the length less 1, then the digits.

    Returns:
        The most probable number of each image (equation 9), or that of the labels.

    Example:
    >>> read_numbers(np.array([[1, 4, 2, 10], [0, 7, 10, 10]]))
    ['42', '7']
    """
    if not isinstance(answers, (list, tuple)):
        labels = np.asarray(answers)
    else:
        labels = keras.ops.convert_to_numpy(most_probable_sequence(answers))
    return ["".join(map(str, number[1 : 2 + number[0]])) for number in labels.tolist()]


def _answered(
    inputs: Tensor,
    maps: keras.Model,
    top: keras.Model,
    scales: Any,
    include_top: bool,
    activation: Any,
    pooling: str | None,
) -> Any:
    """The answers of a network of layers and a top, or the map below."""
    scales = checked_scales(scales, include_top)
    if not include_top:
        return pool(at_scales(inputs, scales, maps)[0], pooling)
    return named_answers(at_scales(inputs, scales, lambda x: top(maps(x))), activation)


def _part(model: keras.Model | None, name: str) -> keras.Model | None:
    """A part of a given model."""
    if model is None:
        return None
    if isinstance(model, keras.Model) and name in {layer.name for layer in model.layers}:
        return model.get_layer(name)
    raise ValueError(
        "`coarse` must be an `SVHNCoarse` and `fine` an `SVHNFine`, both with their tops. "
        f"Received: {model!r}, without a layer {name!r}"
    )


def _sizes(sizes: tuple[int, ...], *models: keras.Model | None) -> tuple[int, ...]:
    """Classes of each answer: those of given models, which must be the same."""
    tops = [_part(model, "top") for model in models]
    found = {tuple(answer.shape[-1] for answer in top.outputs) for top in tops if top is not None}
    if len(found) > 1:
        raise ValueError(
            "`coarse` and `fine` must have the same answers. "
            f"Received: models with {' and '.join(map(str, sorted(found)))} classes"
        )
    return found.pop() if found else sizes
