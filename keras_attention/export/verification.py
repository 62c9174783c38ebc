"""Export to a single file, and verification of exports on example inputs."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.graph.image_range import (
    Range,
    image_input_index,
    resolve_image_range,
    validate_image_range,
)
from keras_attention.inspect.with_attention import with_attention
from keras_attention.utils.validation import boolean, keras_model, non_negative_number

# Side of the example images for models that accept any size.
EXAMPLE_SIDE = 32
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
Arrays = list[np.ndarray]
NamedArrays = dict[str, np.ndarray]


def export_file(
    model: keras.Model,
    path: str | os.PathLike[str],
    kind: str,
    run: Callable[[Path, NamedArrays], Arrays],
    conversion: Callable[[keras.Model], AbstractContextManager[None]],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
    image_range: Any = None,
    converter: Callable[[NamedArrays], Mapping[str, Any]] | None = None,
    quantized: bool = False,
) -> Path:
    """Exports a model to a temporary file, verifies its outputs and renames it to `path`.

    The model is converted in the context `conversion(model)`, by Keras's exporter of this kind with
    the arguments that `converter` returns for the examples. `run` runs a file on the examples.
    """
    path = _path_with_suffix(path, kind)
    validate_image_range(image_range)
    model = with_attention(model) if boolean("attention", attention) else model
    tolerance = resolve_tolerance(model, tolerance)
    if path.exists() and not (overwrite and path.is_file()):
        raise FileExistsError(
            "`path` must be new, or an existing file with overwrite=True. "
            f"Received: path={str(path)!r}"
        )
    examples = example_inputs(model, inputs, example_range(model, image_range, inputs))
    expected = expected_outputs(model, examples)
    with temporary_export(path, f"model{SUFFIXES[kind]}") as temporary:
        with conversion(model):
            exported = with_float32_outputs(model, examples)
            exported(examples, training=False)  # Keras's ONNX exporter requires a call
            named = _by_input_name(exported, examples)
            _convert(exported, temporary, kind, converter(named) if converter else {})
        try:
            outputs = run(temporary, named)
        except Exception as error:
            raise RuntimeError(f"The {kind} file was written but does not run: {error}") from error
        compare_outputs(f"{kind} file", expected, outputs, tolerance, quantized)
    return path


def _path_with_suffix(path: str | os.PathLike[str], kind: str) -> Path:
    """Returns the absolute path with the suffix of a format, which is appended if it is missing."""
    resolved, suffix = Path(path).resolve(), SUFFIXES[kind]
    if not resolved.suffix:
        return resolved.with_name(resolved.name + suffix)
    if resolved.suffix.lower() != suffix:
        raise ValueError(
            f"`path` must end with {suffix!r}, the suffix of the format. Received: "
            f"path={str(path)!r}"
        )
    return resolved


def _by_input_name(model: keras.Model, examples: Any) -> NamedArrays:
    """Returns the examples by the names of a functional model's inputs, which the file has, too."""
    names = [tensor.name for tensor in keras.tree.flatten(model.inputs)]
    return dict(zip(names, keras.tree.flatten(examples), strict=True))


def example_range(model: keras.Model, image_range: Any, inputs: Any) -> Range | None:
    """Returns the value range of a model's images, None for a model without image inputs."""
    index = image_input_index(getattr(model, "inputs", None) or [])
    if index is None:
        return validate_image_range(image_range)
    images = None if inputs is None else np.asarray(keras.tree.flatten(inputs)[index])
    return resolve_image_range(model, image_range, images, index)


@contextmanager
def temporary_export(path: Path, name: str) -> Iterator[Path]:
    """Provides a temporary path; what is written there replaces `path` unless an error occurs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        temporary = Path(folder) / name
        yield temporary
        if path.is_dir():
            path.replace(Path(folder) / "replaced")
        temporary.replace(path)


def _convert(model: keras.Model, path: Path, kind: str, converter: Mapping[str, Any]) -> None:
    """Writes a file; shortens the errors of converters, which can be pages long."""
    try:
        with _called_for_inference(model):
            model.export(str(path), format=kind, verbose=False, **converter)
    except Exception as error:  # converters define their own errors
        lines = [line for line in str(error).splitlines() if line.strip()]
        hint = ""
        if any(getattr(layer, "quantization_mode", None) for layer in model._flatten_layers()):
            hint = " Keras has quantized the model, which not every format supports."
        raise RuntimeError(
            f"{model.name!r} cannot be converted to {kind}; nothing was written.{hint} "
            f"Received: {type(error).__name__}: {' '.join(lines)[:400]}"
        ) from error


@contextmanager
def _called_for_inference(model: keras.Model) -> Iterator[None]:
    """Passes `training=False` in calls of `model.__call__`, as Keras's ONNX exporter makes them.

    Without it, layers for augmentation would augment.
    """
    model.__dict__["__call__"] = partial(model.__call__, training=False)
    try:
        yield
    finally:
        del model.__dict__["__call__"]


def example_inputs(model: keras.Model, inputs: Any, image_range: Range | None) -> Any:
    """Returns `inputs` as arrays, or random examples in the structure of the model's inputs.

    Images are drawn uniformly from `image_range`, other inputs from a normal distribution.
    """
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model={model.name!r}, which is not. "
            "Call it on data first"
        )
    if not getattr(model, "inputs", None):
        if inputs is None:
            raise ValueError(
                "`inputs` must be given for subclassed models, whose input shape is unknown. "
                f"Received: inputs=None, model={model.name!r}"
            )
        return keras.tree.map_structure(np.asarray, inputs)
    known = symbolic_inputs_and_outputs(model, None)[0]
    if inputs is not None:
        return _converted_inputs(model, known, inputs)
    generator = np.random.default_rng(0)
    index = image_input_index(model.inputs)
    images = None if index is None else model.inputs[index]

    def random_array(tensor: Any) -> np.ndarray:
        shape = (2, *(EXAMPLE_SIDE if size is None else size for size in tensor.shape[1:]))
        values = generator.normal(size=shape)
        if tensor is images and image_range is not None:
            values = generator.uniform(*image_range, size=shape)
        return values.astype(keras.backend.standardize_dtype(tensor.dtype))

    return keras.tree.map_structure(random_array, known)


def _converted_inputs(model: keras.Model, known: Any, inputs: Any) -> Any:
    """Converts examples to the dtypes of a model's inputs, in their structure."""
    tensors, arrays = keras.tree.flatten(known), keras.tree.flatten(inputs)
    is_dictionary = isinstance(known, dict)
    has_other_keys = is_dictionary != isinstance(inputs, dict) or (
        is_dictionary and set(known) != set(inputs)
    )
    if has_other_keys or len(tensors) != len(arrays):
        raise ValueError(
            "`inputs` must have the structure of the model's inputs. Received: "
            f"{_structure(inputs)} for {model.name!r} with {_structure(known)}"
        )
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors]
    converted = [
        np.asarray(array) if dtype == "string" else np.asarray(array).astype(dtype)
        for array, dtype in zip(arrays, dtypes, strict=True)
    ]
    return keras.tree.pack_sequence_as(known, converted)


def _structure(nest: Any) -> Any:
    return keras.tree.map_structure(lambda item: tuple(np.shape(item)), nest)


def resolve_tolerance(model: keras.Model, tolerance: float | None) -> float:
    """Returns the tolerance, by default one for the lowest precision of the model's layers."""
    keras_model("model", model)
    if tolerance is not None:
        return non_negative_number("tolerance", tolerance)
    precisions = {layer.compute_dtype for layer in model._flatten_layers()}
    if "bfloat16" in precisions:
        return 5e-2
    return 1e-2 if "float16" in precisions else 1e-5


def with_float32_outputs(model: keras.Model, examples: Any) -> keras.Model:
    """Returns a functional model that casts half precision outputs to float32.

    The model itself is returned if it is functional and its outputs are not in half precision.
    """
    inputs, outputs = symbolic_inputs_and_outputs(model, examples)
    half = ("float16", "bfloat16")
    is_exact = all(tensor.dtype not in half for tensor in keras.tree.flatten(outputs))
    if is_exact and getattr(model, "inputs", None):
        return model
    cast = keras.tree.map_structure(
        lambda tensor: keras.ops.cast(tensor, "float32") if tensor.dtype in half else tensor,
        outputs,
    )
    return keras.Model(inputs, cast, name=model.name)


def symbolic_inputs_and_outputs(model: keras.Model, examples: Any) -> tuple[Any, Any]:
    """Returns a model's inputs and outputs as Keras tensors, in their original structure."""
    if not getattr(model, "inputs", None):
        inputs = keras.tree.map_structure(
            lambda array: keras.Input(array.shape[1:], dtype=str(array.dtype)), examples
        )
        return inputs, model(inputs)
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def expected_outputs(model: keras.Model, examples: Any) -> Arrays:
    """Computes the model's outputs as a flat list of arrays."""
    # The export runs on the CPU too; other devices round differently.
    with keras.device("cpu:0"):
        outputs = model(examples, training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]


def compare_outputs(
    kind: str, expected: Arrays, received: Arrays, tolerance: float, quantized: bool = False
) -> None:
    """Raises a RuntimeError if the outputs of an export differ from the model's.

    The largest difference counts, for quantized exports the root mean square: single values can
    change a lot where quantization selects another maximum or patch, but a wrong scale changes all
    values.
    """
    for ours, theirs in zip(expected, received, strict=True):
        differences = ours.astype("float64") - theirs.astype("float64")
        if quantized:
            size, difference = _root_mean_square(ours), _root_mean_square(differences)
            limit = tolerance * size
            excess = f" in root mean square, more than {tolerance:.3g} times their {size:.3g}"
        else:
            difference = float(np.max(np.abs(differences)))
            limit = tolerance * max(1.0, float(np.max(np.abs(ours))))
            excess = f", more than the allowed {limit:.3g}"
        if not difference <= limit:
            raise RuntimeError(
                f"The {kind}'s outputs differ from the model's by {difference:.3g}{excess}; "
                "nothing was written."
            )


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype("float64")))))


@contextmanager
def replaced_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute of an object for the duration of a context."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
