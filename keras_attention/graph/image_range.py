"""Value ranges of the images that a model expects, from its graph and from the images."""

import warnings
from typing import Any

import keras
import numpy as np

from keras_attention.graph.functional import (
    Node,
    functional_graph,
    is_functional,
    replay,
    to_functional,
)

Range = tuple[float, float]

UNIT, SYMMETRIC, BYTES = (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)
# Ranges of images in use, the more specific before those that contain them; the last is that of
# files with 16 bits.
COMMON_RANGES = (UNIT, SYMMETRIC, BYTES, (0.0, 65535.0))
# Ranges to which models rescale images.
TARGETS = (UNIT, SYMMETRIC, (-0.5, 0.5), BYTES)
# Relative tolerance of a target: dividing by 256 counts as dividing by 255.
TOLERANCE = 0.02
# Largest absolute value that a rescaled image has if no target fits.
PLAUSIBLE_MAXIMUM = (0.3, 4.0)
# Values above this cannot be images in `[0, 1]`, not even after an interpolation that overshoots.
LARGEST_UNIT_VALUE = 1.5
# Ratio of the widths of two ranges above which one of them must be wrong.
LARGEST_RATIO = 10.0
# Values of the constant images that show the scale and the offset of an operation.
PROBES = (0.0, 100.0, 200.0)
# Side of these images for models that accept any size.
PROBE_SIDE = 32
IMAGE_CHANNELS = (1, 3)


def infer_image_range(model: keras.Model, input_index: int | None = None) -> Range | None:
    """Infers the value range of the images that a model expects from its first operations.

    Rescaling layers, adapted `Normalization` layers and arithmetic such as `x / 127.5 - 1` show the
    range, also in nested models, behind casts and behind layers for augmentation: it is the one
    that they map to about `[0, 1]` or `[-1, 1]`, or to values with mean 0 and variance 1.

    Args:
        model: Keras model.
        input_index: Index of the input among several. None for the first one that accepts images.

    Returns:
        `(low, high)`, or None if the first operations of the graph do not show it.

    Example:
    >>> layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 127.5, offset=-1)]
    >>> infer_image_range(keras.Sequential([*layers, keras.layers.Conv2D(2, 3)]))
    (0.0, 255.0)
    """
    try:
        graph = to_functional(model)
    except ValueError:  # a subclassed model that cannot be called on symbolic inputs
        return None
    index = image_input_index(graph.inputs) if input_index is None else input_index
    if index is None:
        return None
    values: list[Any] = [_Unknown() for _ in graph.inputs]
    values[index] = _constant_images(graph.inputs[index])
    ends: list[_Images] = []
    outputs = replay(graph, keras.tree.pack_sequence_as(graph.input, values), _Follow(ends))
    ends += [value for value in keras.tree.flatten(outputs) if isinstance(value, _Images)]
    ranges = (_range_of(*end.scale_and_offset()) for end in ends)
    return next((found for found in ranges if found is not None), None)


def resolve_image_range(
    model: keras.Model,
    image_range: Any,
    images: Any = None,
    input_index: int | None = None,
    check: bool = True,
) -> Range:
    """Returns the value range of a model's images: the requested one, or an inferred one.

    Without `image_range`, the graph of the model shows the range, or the images do, or it is
    `[0, 1]`.

    Args:
        model: Keras model.
        image_range: The user's argument, `(low, high)` or None.
        images: Images that are passed to the model. If they show that the range is wrong, or if the
            range is inferred from them and could be another, a UserWarning is issued.
        input_index: See `infer_image_range`.
        check: If False, images outside a requested range do not warn.

    Raises:
        ValueError: If `image_range` is not a pair of increasing numbers, or images are not finite.

    Example:
    >>> resolve_image_range(keras.Sequential([keras.Input((8, 8, 3))]), None)
    (0.0, 1.0)
    """
    requested = validate_image_range(image_range)
    inferred = infer_image_range(model, input_index)
    if requested and inferred:
        _warn_if_contradicted(model, requested, inferred)
    found = requested or inferred
    values = None if images is None or np.size(images) == 0 else np.asarray(images)
    if values is None:
        return found or UNIT
    low, high = _limits(values)
    if found is None:
        return _range_of_images(low, high, values.dtype)
    if not check:
        return found
    source = "`image_range`" if requested else f"the rescaling at the start of {model.name!r}"
    if not _contains(found, low, high):
        warnings.warn(
            f"The images must be in [{found[0]:g}, {found[1]:g}], the range of {source}. Received: "
            f"images from {low:g} to {high:g}. Pass the `image_range` of these images.",
            stacklevel=3,
        )
    elif requested is None and found[1] > 2 * LARGEST_UNIT_VALUE and 0 < high <= 1.0 and low < high:
        warnings.warn(
            f"{source} expects images in [{found[0]:g}, {found[1]:g}]. Received: images from "
            f"{low:g} to {high:g}, which look like another range. Multiply them, or pass "
            "`image_range` if this is their range.",
            stacklevel=3,
        )
    return found


def validate_image_range(image_range: Any) -> Range | None:
    """Returns the argument `image_range` as a tuple of floats, or None.

    Example:
    >>> validate_image_range([0, 255])
    (0.0, 255.0)
    """
    if image_range is None:
        return None
    try:
        low, high = (float(value) for value in image_range)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if isinstance(image_range, str) or not -np.inf < low < high < np.inf:
        raise ValueError(
            "`image_range` must be a pair of increasing finite numbers, such as (0, 255), or None. "
            f"Received: image_range={image_range!r}"
        )
    return low, high


def image_input_index(inputs: Any) -> int | None:
    """Returns the index of the first input that accepts images, preferably with 1 or 3 channels."""
    shapes = [tensor.shape for tensor in inputs]
    maps = [index for index, shape in enumerate(shapes) if len(shape) == 4]
    images = [i for i in maps if shapes[i][-1] in IMAGE_CHANNELS or shapes[i][1] in IMAGE_CHANNELS]
    return next(iter([*images, *maps]), None)


def scale_images(images: Any, source: Range, target: Range) -> Any:
    """Maps images linearly from one range to another.

    Example:
    >>> scale_images(np.array([0.0, 0.5]), (0.0, 1.0), (-1.0, 1.0))
    array([-1.,  0.])
    """
    if source == target:
        return images
    share = (images - source[0]) / (source[1] - source[0])
    return share * (target[1] - target[0]) + target[0]


class _Unknown:
    """Value of a tensor that is not computed from the images alone, or not linear in them."""


class _Images:
    """Values of a tensor for constant images of three brightnesses."""

    def __init__(self, values: list[np.ndarray]):
        self.values = values

    def scale_and_offset(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns scale and offset of the elements that depend on the images."""
        first: np.ndarray = np.ravel(self.values[0]).astype("float64")
        last: np.ndarray = np.ravel(self.values[-1]).astype("float64")
        scale = (last - first) / (PROBES[-1] - PROBES[0])
        depends = np.abs(scale) > 1e-12
        pairs = np.stack([scale[depends], first[depends]], axis=-1)
        unique = np.unique(pairs.round(9), axis=0)
        return unique[:, 0], unique[:, 1]

    def is_linear(self) -> bool:
        if len({value.shape for value in self.values}) > 1:
            return False
        values = np.stack(self.values).astype("float64")
        first, middle, last = values[0], values[1], values[2]
        size: float = np.max(np.abs(values), initial=0.0)
        depends = np.any(first != last)
        return bool(depends and np.allclose(first + last, 2 * middle, rtol=0.0, atol=1e-4 * size))


def _constant_images(tensor: Any) -> _Images:
    shape = (1, *(PROBE_SIDE if size is None else size for size in tensor.shape[1:]))
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return _Images([np.full(shape, value, dtype) for value in PROBES])


class _Follow:
    """Function `call` for `replay`: computes operations while they are linear in the images.

    Args:
        ends: Receives the images that other operations read.
    """

    def __init__(self, ends: list[_Images]):
        self.ends = ends

    def __call__(self, node: Node, /, *args: Any, **kwargs: Any) -> Any:
        operation = node.operation
        if is_functional(operation):
            inputs = args[0] if args else kwargs["inputs"]
            return replay(functional_graph(operation), inputs, self)
        values = keras.tree.flatten((args, kwargs))
        images = [value for value in values if isinstance(value, _Images)]
        if images and not any(isinstance(value, _Unknown) for value in values):
            outputs = self._compute(node, args, kwargs)
            if outputs is not None:
                return outputs
        self.ends += images
        return [_Unknown() for _ in node.outputs]

    def _compute(self, node: Node, args: Any, kwargs: Any) -> _Images | None:
        """Returns the outputs for constant images; None if they are not linear in the images."""
        if len(node.outputs) != 1 or not _has_no_weights(node.operation):
            return None
        if isinstance(node.operation, keras.layers.Layer):
            kwargs = {**kwargs, "training": False}
        try:
            outputs = [
                node.operation(*_probe(args, index), **_probe(kwargs, index))
                for index in range(len(PROBES))
            ]
            arrays = [keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in outputs]
            if not _Images(arrays).is_linear():
                return None
            return _Images([keras.ops.convert_to_numpy(output) for output in outputs])
        except Exception:  # any operation of a user
            return None


def _probe(arguments: Any, index: int) -> Any:
    return keras.tree.map_structure(
        lambda value: value.values[index] if isinstance(value, _Images) else value, arguments
    )


def _has_no_weights(operation: Any) -> bool:
    """Returns True for operations without weights other than the statistics of Normalization."""
    if not isinstance(operation, keras.layers.Layer):
        return True
    layers = operation._flatten_layers()
    known = [layer for layer in layers if isinstance(layer, keras.layers.Normalization)]
    statistics = {id(weight) for layer in known for weight in layer.weights}
    return all(id(weight) in statistics for weight in operation.weights)


def _range_of(scale: np.ndarray, offset: np.ndarray) -> Range | None:
    """Returns the range that a map `scale * x + offset` per channel expects; None if unknown."""
    if not len(scale) or (np.allclose(scale, 1.0) and np.allclose(offset, 0.0)):
        return None
    for target in TARGETS:
        for candidate in COMMON_RANGES:
            if candidate != target and _maps_to(scale, offset, candidate, target):
                return candidate
    mean, deviation = -offset / scale, np.abs(1.0 / scale)
    if np.allclose(np.abs(scale), 1.0):  # a shift alone
        deviation = np.zeros_like(deviation)
    if np.any(offset):
        return next((each for each in COMMON_RANGES if _has_moments(each, mean, deviation)), None)
    for candidate in COMMON_RANGES:
        largest = float(np.max(np.abs(scale)) * candidate[1])
        if PLAUSIBLE_MAXIMUM[0] <= largest <= PLAUSIBLE_MAXIMUM[1]:
            return candidate
    return None


def _maps_to(scale: np.ndarray, offset: np.ndarray, candidate: Range, target: Range) -> bool:
    ends = np.sort(np.stack([scale * end + offset for end in candidate]), axis=0)
    tolerance = TOLERANCE * (target[1] - target[0])
    return bool(np.all(np.abs(ends - np.array(target)[:, None]) <= tolerance))


def _has_moments(candidate: Range, mean: np.ndarray, deviation: np.ndarray) -> bool:
    """Returns True if values in a range can have this mean and standard deviation.

    The variance of values in `[a, b]` is at most `(b - mean) (mean - a)`.
    """
    low, high = candidate
    inside = (mean >= low) & (mean <= high)
    return bool(np.all(inside & (deviation**2 <= (high - mean) * (mean - low) + 1e-9)))


def _warn_if_contradicted(model: keras.Model, requested: Range, inferred: Range) -> None:
    ratio = (requested[1] - requested[0]) / (inferred[1] - inferred[0])
    if not 1 / LARGEST_RATIO < ratio < LARGEST_RATIO:
        warnings.warn(
            f"The rescaling at the start of {model.name!r} is one for images in [{inferred[0]:g}, "
            f"{inferred[1]:g}]. Received: image_range={requested}, which is used.",
            stacklevel=4,
        )


def _limits(values: np.ndarray) -> Range:
    low, high = float(np.min(values)), float(np.max(values))
    if not np.isfinite([low, high]).all():
        raise ValueError(
            f"`images` must be finite. Received: images with values from {low} to {high}"
        )
    return low, high


def _contains(found: Range, low: float, high: float) -> bool:
    margin = 1e-3 * (found[1] - found[0])
    return found[0] - margin <= low and high <= found[1] + margin


def _range_of_images(low: float, high: float, dtype: Any) -> Range:
    """Returns the range that images show; warns if it could be another."""
    is_integer = np.issubdtype(dtype, np.integer)
    if _contains(UNIT, low, high):
        return UNIT
    if low >= 0.0 and high <= BYTES[1] and (is_integer or high > LARGEST_UNIT_VALUE):
        found = BYTES
    elif _contains(SYMMETRIC, low, high):
        found = SYMMETRIC
    else:
        found = min(low, 0.0), max(high, 1.0)
    if not is_integer:
        warnings.warn(
            "`image_range` is not given and the model does not show it. The images have values "
            f"from {low:g} to {high:g}, so [{found[0]:g}, {found[1]:g}] is used. Pass "
            "`image_range`, for example (0, 255), if this is not their range.",
            stacklevel=4,
        )
    return found
