"""Examples that a figure shows: the inputs of the model, and what is drawn of them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_attention.graph.classifier import LOGITS, SIGMOID, output_kind
from keras_attention.graph.functional import is_functional
from keras_attention.graph.image_range import (
    UNIT,
    image_input_index,
    resolve_image_range,
    scale_images,
)
from keras_attention.utils.tensor_validation import compatible_shapes
from keras_attention.utils.validation import is_integer

# Largest number of characters of a note with several parts in one line.
NOTE_LENGTH = 30
# Error, as a share of the scale, up to which a feature map is an image with other values.
LINEAR_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Examples:
    """Inputs of a model, and the images or sequences that are drawn of them.

    Attributes:
        inputs: Arrays in the structure that the model receives.
        images: Images in `[0, 1]`, `(B, H, W, channels)` or `(B, channels, H, W)` as in the model,
            or sequences `(B, T, features)`.
        titles: Title of each example, such as `"image 1"`.
        labels: Name of the true class of each example; None if the labels are unknown.
        classes: Index of the true class of each example; None if it is unknown.
        predictions: Name of the predicted class of each example; None if it is not to be shown.
        class_names: Name of each class; None for their indices.
        heat_maps: Grad-CAM heat maps `(B, h, w)`; None if they are not to be shown.
    """

    inputs: Any
    images: np.ndarray
    titles: Sequence[str]
    labels: Sequence[str] | None = None
    classes: np.ndarray | None = None
    predictions: Sequence[str] | None = None
    class_names: Sequence[str] | None = None
    heat_maps: np.ndarray | None = None

    def first(self, count: int) -> "Examples":
        """Returns the first examples."""
        names = ("images", "titles", "labels", "classes", "predictions", "heat_maps")
        parts = {name: getattr(self, name) for name in names}
        parts = {name: part if part is None else part[:count] for name, part in parts.items()}
        inputs = keras.tree.map_structure(lambda array: array[:count], self.inputs)
        return dataclasses.replace(self, inputs=inputs, **parts)

    def class_name(self, index: Any) -> str:
        """Returns the name of a class, by default its index."""
        return str(int(index)) if self.class_names is None else self.class_names[int(index)]

    def notes(self, predicted: bool = True) -> list[str]:
        """Returns a note for each example, of its true and predicted class, if they are known."""
        parts = {"true": self.labels, "predicted": self.predictions if predicted else None}
        known = [[f"{key}: {name}" for name in names] for key, names in parts.items() if names]
        return [join_notes(*row) for row in zip(*known, strict=True)]


def join_notes(*parts: str) -> str:
    """Joins parts of a note in one line, or in a line each if they are long.

    Example:
    >>> join_notes("true: 3", "predicted: 5")
    'true: 3, predicted: 5'
    """
    line = ", ".join(filter(None, parts))
    return line if len(line) <= NOTE_LENGTH else "\n".join(filter(None, parts))


def make_examples(
    model: keras.Model,
    images: Any,
    image_range: Any = None,
    labels: Any = None,
    class_names: Any = None,
    indices: Any = None,
) -> Examples:
    """Validates the arguments of `plot_attention` that describe the examples."""
    inputs = make_inputs(model, images)
    flat = keras.tree.flatten(inputs)
    index = _drawn_input(model, flat)
    drawn = flat[index]
    if drawn.ndim == 4:
        known = None if images is None else drawn
        source = resolve_image_range(model, image_range, known, index)
        # float32 also for integers, so that figures can compute with them.
        drawn = np.clip(scale_images(drawn.astype("float32"), source, UNIT), *UNIT)
    elif image_range is not None:
        raise ValueError(
            "`image_range` must be None for a model of sequences, which are drawn with a color "
            f"bar. Received: image_range={image_range!r} for {model.name!r}"
        )
    kind = "image" if drawn.ndim == 4 else "sequence"
    numbers = range(1, len(drawn) + 1) if indices is None else _indices(indices, len(drawn))
    names = _class_names(class_names)
    classes, label_names = _labels(labels, len(drawn), names)
    return Examples(
        inputs=inputs,
        images=drawn,
        titles=[f"{kind} {number}" for number in numbers],
        labels=label_names,
        classes=classes,
        class_names=names,
    )


def predicted_classes(model: Any, outputs: Any, class_names: Any = None) -> list[str] | None:
    """Names of the predicted classes; None if an output does not contain scores of classes.

    Of several outputs, such as the digits of a number, each example has the predicted class of each
    output. One unit is a class of its own: class 1 has a probability above 0.5. Without names for
    two classes, one unit may be a regression.

    Raises:
        ValueError: If there are not as many names as classes.
    """
    classes = []
    for index, output in enumerate(keras.tree.flatten(outputs)):
        scores = keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))
        count = 2 if scores.shape[-1] == 1 else scores.shape[-1]
        if scores.ndim != 2:
            return None
        if scores.shape[-1] == 1:
            kind = output_kind(model, index) if is_functional(model) else None
            if kind != SIGMOID and (kind != LOGITS or class_names is None):
                return None
            classes.append((scores[:, 0] > (0.5 if kind == SIGMOID else 0.0)).astype(int))
        else:
            classes.append(scores.argmax(axis=-1))
        if class_names is not None and len(class_names) != count:
            raise ValueError(
                f"`class_names` must contain {count} names, one for each class of "
                f"{model.name!r}. Received: class_names with {len(class_names)} names"
            )
    names = [
        [str(number) if class_names is None else class_names[number] for number in output]
        for output in classes
    ]
    return [" ".join(row) for row in zip(*names, strict=True)]


def display_limits(inputs: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of black and white in the input of a layer, for each channel.

    The input may be the image itself in the model's range, or behind layers that rescale it.
    Otherwise it is a feature map, whose lowest and highest value are black and white.

    Args:
        inputs: Input of the layer, `(B, H, W, channels)`.
        images: The images in `[0, 1]`, in the same data format.
    """
    if inputs.shape == images.shape:
        x, y = _pixels_by_channel(images), _pixels_by_channel(inputs)
        offset_x, offset_y = x.mean(axis=0), y.mean(axis=0)
        variance = np.mean((x - offset_x) ** 2, axis=0)
        covariance = np.mean((x - offset_x) * (y - offset_y), axis=0)
        scale = np.where(variance > 0.0, covariance / np.where(variance > 0.0, variance, 1.0), 1.0)
        low = offset_y - scale * offset_x
        error = np.abs(y - (scale * x + low)).max(axis=0)
        if np.all(scale != 0.0) and np.all(error <= LINEAR_TOLERANCE * np.abs(scale)):
            is_equal = np.allclose(low, 0.0, atol=1e-6) and np.allclose(scale, 1.0, atol=1e-6)
            return (np.zeros(1), np.ones(1)) if is_equal else (low, low + scale)
    low, high = np.array([inputs.min()]), np.array([inputs.max()])
    return low, np.where(high > low, high, low + 1.0)


def _pixels_by_channel(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, images.shape[-1]).astype("float64")


def make_inputs(model: keras.Model, images: Any) -> Any:
    """Validates `images`; returns arrays in the structure and dtypes of the model's inputs."""
    if not getattr(model, "inputs", None):
        if images is None:
            raise ValueError(
                "`images` must be passed for a model without fixed inputs. Received: images=None "
                f"for {model.name!r}"
            )
        is_structure = keras.tree.is_nested(images) and not _is_list_of_images(images)
        arrays = keras.tree.map_structure(_to_array, images) if is_structure else _to_array(images)
        _validate_counts(model, arrays)
        return arrays
    known = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    tensors = keras.tree.flatten(known)
    if images is None:
        arrays = [_zeros(model, tensor) for tensor in tensors]
    else:
        arrays = [
            _to_array(array, tensor.dtype)
            for array, tensor in zip(_in_order(model, known, images), tensors, strict=True)
        ]
        if any(not _fits(array, tensor) for array, tensor in zip(arrays, tensors, strict=True)):
            _refuse_shapes(model, arrays)
        _validate_counts(model, arrays)
    return keras.tree.pack_sequence_as(known, arrays) if keras.tree.is_nested(known) else arrays[0]


def _in_order(model: keras.Model, known: Any, images: Any) -> list[Any]:
    """Returns one array for each input of a model, in the order of its inputs."""
    tensors = keras.tree.flatten(known)
    if isinstance(images, dict):
        by_key = isinstance(known, dict) and not any(map(keras.tree.is_nested, known.values()))
        names = sorted(known) if by_key else [one._keras_history.operation.name for one in tensors]
        if set(images) == set(names):
            return [images[name] for name in names]
        _refuse_structure(model, images, f"a dictionary with the keys {names}")
    if len(tensors) == 1:
        is_wrapped = isinstance(images, (list, tuple)) and len(images) == 1
        is_wrapped = is_wrapped and np.ndim(images[0]) == len(tensors[0].shape)
        return [images[0] if is_wrapped else images]
    if isinstance(known, dict):
        _refuse_structure(model, images, f"a dictionary with the keys {sorted(known)}")
    found = keras.tree.flatten(images) if isinstance(images, (list, tuple)) else []
    if len(found) != len(tensors):
        _refuse_structure(model, images, f"a list of {len(tensors)} arrays")
    return found


def _refuse_structure(model: keras.Model, images: Any, expected: str) -> None:
    if isinstance(images, dict):
        received = f"a dictionary with the keys {sorted(map(str, images))}"
    elif isinstance(images, (list, tuple)):
        received = f"a {type(images).__name__} of length {len(images)}"
    else:
        received = f"images.shape={np.shape(images)}"
    raise ValueError(
        f"`images` must be {expected}, as the inputs of {model.name!r}. Received: {received}"
    )


def _refuse_shapes(model: keras.Model, arrays: Sequence[np.ndarray]) -> None:
    inputs = getattr(model, "inputs", None) or ()
    shapes = f" Its inputs have the shapes {[tuple(one.shape) for one in inputs]}" if inputs else ""
    received = [array.shape for array in arrays]
    raise ValueError(
        "`images` must have the shape (B, H, W, channels), or (B, T, features) for a model of "
        "sequences, and contain at least one image. Received: "
        f"images.shape={received[0] if len(received) == 1 else received} for {model.name!r}."
        + shapes
    )


def _validate_counts(model: keras.Model, arrays: Any) -> None:
    flat = keras.tree.flatten(arrays)
    counts = {array.shape[0] if array.ndim else 0 for array in flat}
    if 0 in counts or not counts:
        _refuse_shapes(model, flat or [np.zeros(())])
    if len(counts) > 1:
        raise ValueError(
            "`images` must contain the same number of examples for each input of "
            f"{model.name!r}. Received: shapes {[array.shape for array in flat]}"
        )


def _fits(array: np.ndarray, tensor: Any) -> bool:
    return len(array) > 0 if _same_shape(array, tensor) else False


def _same_shape(array: np.ndarray, tensor: Any) -> bool:
    rank = len(tensor.shape)
    return array.ndim == rank and compatible_shapes(array.shape[1:], tuple(tensor.shape[1:]))


def _drawn_input(model: keras.Model, arrays: Sequence[np.ndarray]) -> int:
    """Returns the index of the first image, or of the first sequence."""
    index = image_input_index(arrays)
    if index is not None:
        return index
    sequences = [i for i, a in enumerate(arrays) if a.ndim == 3 and a.dtype.kind in "fiub"]
    if not sequences:
        _refuse_shapes(model, arrays)
    return sequences[0]


def _is_list_of_images(images: Any) -> bool:
    """Returns True for a list of equal images or nested numbers, which is one array."""
    if isinstance(images, dict):
        return False
    shapes = {np.shape(image) for image in images}
    return len(shapes) == 1 and len(next(iter(shapes))) == 3 and len(images) > 0


def _to_array(values: Any, dtype: Any = None) -> np.ndarray:
    try:
        array = np.asarray(values)
    except Exception:  # tensors on a device
        array = keras.ops.convert_to_numpy(values)
    if array.dtype.kind not in "fiub":
        return array
    if dtype is None:
        # Indices of an embedding stay integers.
        dtype = keras.config.floatx() if array.dtype.kind == "f" or array.ndim > 2 else array.dtype
    dtype = keras.backend.standardize_dtype(dtype)
    # NumPy has no bfloat16; the model casts its inputs itself.
    return array.astype("float32" if dtype == "bfloat16" else dtype)


def _zeros(model: keras.Model, tensor: Any) -> np.ndarray:
    if None in tensor.shape[1:]:
        raise ValueError(
            "`images` must be passed for a model that accepts any image size. Received: "
            f"images=None for {model.name!r}"
        )
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return np.zeros((1, *tensor.shape[1:]), "float32" if dtype == "bfloat16" else dtype)


def _indices(indices: Any, count: int) -> list[str]:
    return [str(index) for index in _one_for_each("indices", indices, count)]


def _labels(
    labels: Any, count: int, class_names: Sequence[str] | None
) -> tuple[np.ndarray | None, list[str] | None]:
    """Returns the indices of the true classes, if they are known, and their names."""
    if labels is None:
        return None, None
    values = _one_for_each("labels", labels, count)
    known = class_names or ()
    if values and all(isinstance(value, str) for value in values):
        is_known = all(value in known for value in values)
        indices = np.array([list(known).index(value) for value in values]) if is_known else None
        return indices, values
    largest = len(known) if known else np.inf
    if all(is_integer(value) and 0 <= value < largest for value in values):
        return np.array(values), [known[value] if known else str(value) for value in values]
    limit = f" from 0 to {len(known) - 1}" if known else ""
    raise ValueError(
        f"`labels` must contain indices of classes{limit}, or only names. Received: "
        f"labels={labels!r}"
    )


def _one_for_each(argument: str, values: Any, count: int) -> list[Any]:
    found = [] if isinstance(values, (str, dict)) else np.asarray(values).reshape(-1).tolist()
    if len(found) == count:
        return found
    raise ValueError(
        f"`{argument}` must contain {count} elements, one for each image. Received: "
        f"{argument}={values!r}"
    )


def _class_names(names: Any) -> list[str] | None:
    if names is None:
        return None
    found = list(names) if isinstance(names, (list, tuple, np.ndarray)) else []
    if len(found) > 0 and all(isinstance(name, str) for name in found):
        return [str(name) for name in found]
    raise ValueError(
        "`class_names` must be a list of strings, one for each class. Received: "
        f"class_names={names!r}"
    )
