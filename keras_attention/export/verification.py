"""Export to a single file, and verification of exports on example inputs."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.inspect.with_attention import with_attention
from keras_attention.utils.validation import boolean, keras_model, non_negative_number

# Side of the example images for models that accept any size.
EXAMPLE_SIDE = 32
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
Arrays = list[np.ndarray]


def export_file(
    model: keras.Model,
    path: str | os.PathLike[str],
    kind: str,
    run: Callable[[Path, Arrays], Arrays],
    conversion: Callable[[keras.Model], AbstractContextManager[None]],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
    converter: Mapping[str, Any] | None = None,
    quantized: bool = False,
) -> Path:
    """Exports a model to a temporary file, verifies its outputs and renames it to `path`.

    The model is converted in the context `conversion(model)`, by Keras's exporter of this kind with
    the arguments `converter`. `run` runs a file on the flat list of inputs.
    """
    path = Path(path).resolve()
    model = with_attention(model) if boolean("attention", attention) else model
    tolerance = resolve_tolerance(model, tolerance)
    if path.exists() and not (overwrite and path.is_file()):
        raise FileExistsError(
            "`path` must be new, or an existing file with overwrite=True. "
            f"Received: path={str(path)!r}"
        )
    examples = example_inputs(model, inputs)
    expected = expected_outputs(model, examples)
    with temporary_export(path, f"model{SUFFIXES[kind]}") as temporary:
        with conversion(model):
            exported = with_float32_outputs(model, examples)
            _convert(exported, temporary, kind, converter or {})
        try:
            outputs = run(temporary, keras.tree.flatten(examples))
        except Exception as error:
            raise RuntimeError(f"The {kind} file was written but does not run: {error}") from error
        compare_outputs(f"{kind} file", expected, outputs, tolerance, quantized)
    return path


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


def example_inputs(model: keras.Model, inputs: Any) -> Any:
    """Returns `inputs` as arrays, or random examples in the structure of the model's inputs."""
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model={model.name!r}, which is not. "
            "Call it on data first"
        )
    if inputs is not None:
        return keras.tree.map_structure(np.asarray, inputs)
    if not getattr(model, "inputs", None):
        raise ValueError(
            "`inputs` must be given for subclassed models, whose input shape is unknown. "
            f"Received: inputs=None, model={model.name!r}"
        )
    generator = np.random.default_rng(0)

    def random_array(tensor: Any) -> np.ndarray:
        shape = (2, *(EXAMPLE_SIDE if size is None else size for size in tensor.shape[1:]))
        return generator.normal(size=shape).astype(keras.backend.standardize_dtype(tensor.dtype))

    return keras.tree.map_structure(random_array, symbolic_inputs_and_outputs(model, None)[0])


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
