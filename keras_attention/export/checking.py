"""What every export shares: examples to compare on, and the comparison."""

from typing import Any

import keras
import numpy as np

from keras_attention.utils.validation import keras_model, non_negative_number

# Pixels along a side that the model leaves open, for the examples to compare on.
UNKNOWN_SIDE = 32


def examples_for(model: keras.Model, inputs: Any) -> Any:
    """Arrays in the structure that the model takes: the given ones, or drawn."""
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on data first. Received: "
            f"model={model.name!r}, not built"
        )
    if inputs is not None:
        return keras.tree.map_structure(np.asarray, inputs)
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"`inputs` must be given: {model.name!r} is a subclassed model, which does not say "
            "what it takes. Received: inputs=None"
        )
    generator = np.random.default_rng(0)
    sides = {None: UNKNOWN_SIDE}

    def draw(tensor: Any) -> np.ndarray:
        shape = (2, *(sides.get(size, size) for size in tensor.shape[1:]))
        return generator.normal(size=shape).astype(keras.backend.standardize_dtype(tensor.dtype))

    return keras.tree.map_structure(draw, symbolic(model, None)[0])


def tolerance_of(model: keras.Model, tolerance: float | None) -> float:
    """The given largest difference, or what the precision of the model's layers leaves."""
    keras_model("model", model)
    if tolerance is not None:
        return non_negative_number("tolerance", tolerance)
    precisions = {layer.compute_dtype for layer in model._flatten_layers()}
    if "bfloat16" in precisions:
        return 5e-2
    return 1e-2 if "float16" in precisions else 1e-5


def with_float32_outputs(model: keras.Model, examples: Any) -> keras.Model:
    """Returns the model, or one around it that has inputs and casts its outputs."""
    inputs, outputs = symbolic(model, examples)
    halves = ("float16", "bfloat16")
    exact = all(tensor.dtype not in halves for tensor in keras.tree.flatten(outputs))
    if exact and getattr(model, "inputs", None):
        return model
    cast = keras.tree.map_structure(
        lambda tensor: keras.ops.cast(tensor, "float32") if tensor.dtype in halves else tensor,
        outputs,
    )
    return keras.Model(inputs, cast, name=model.name)


def symbolic(model: keras.Model, examples: Any) -> tuple[Any, Any]:
    """Inputs and outputs of a model as Keras tensors, in the structure that it takes."""
    if not getattr(model, "inputs", None):
        inputs = keras.tree.map_structure(
            lambda array: keras.Input(array.shape[1:], dtype=str(array.dtype)), examples
        )
        return inputs, model(inputs)
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def expected_outputs(model: keras.Model, examples: Any) -> list[np.ndarray]:
    """What the model returns for the examples, one after the other."""
    # The reloaded model runs on the CPU too: other devices round in other ways.
    with keras.device("cpu:0"):
        outputs = model(examples, training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]


def compare(
    kind: str, expected: list[np.ndarray], served: list[np.ndarray], tolerance: float
) -> None:
    """Raises RuntimeError where the outputs of an export are not those of the model."""
    for here, there in zip(expected, served, strict=True):
        difference = float(np.max(np.abs(here.astype("float32") - there.astype("float32"))))
        limit = tolerance * max(1.0, float(np.max(np.abs(here))))
        if not difference <= limit:
            raise RuntimeError(
                f"The {kind}'s outputs differ from the model's by {difference:.3g}, more than "
                f"the {limit:.3g} allowed; nothing was written."
            )


def compare_integers(
    kind: str, expected: list[np.ndarray], served: list[np.ndarray], tolerance: float
) -> None:
    """Raises RuntimeError where the outputs of an export to integers are far from the model's.

    Their root mean square difference counts, relative to that of the output: single values move
    where a maximum or a patch is another one, all of them where a scale is wrong.
    """
    for here, there in zip(expected, served, strict=True):
        size = float(np.sqrt(np.mean(np.square(here.astype("float64")))))
        difference = float(np.sqrt(np.mean(np.square(here.astype("float64") - there))))
        if not difference <= tolerance * size:
            raise RuntimeError(
                f"The {kind}'s outputs differ from the model's by {difference:.3g} in the root "
                f"mean square, more than {tolerance:.3g} of {size:.3g}; nothing was written."
            )
