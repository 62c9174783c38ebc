"""Test errors of a model, as reported in the papers' tables."""

from typing import Any

import numpy as np

from keras_attention import ops
from keras_attention.datasets import DatasetInfo

# Column titles.
TITLES = {"error_percent": "error %", "mse": "MSE", "mae": "MAE"}


def evaluate(model: Any, batches: Any, info: DatasetInfo) -> tuple[int, dict[str, float]]:
    """Returns the number of examples, and the test errors of a model by name.

    For classes: the percentage of examples whose most probable class is wrong. For numbers with
    several digits: the percentage of examples with a wrong length or a wrong digit (equation 9 of
    Almahairi et al., Dynamic Capacity Networks, 2016). For regression: the mean squared error and
    the mean absolute error.
    """
    _validate_outputs(model, info, batches.element_spec[1].shape[1:])
    if info.label_classes:
        # Images of different sizes cannot be predicted as one array.
        correct = np.concatenate(
            [
                np.asarray(ops.sequence_hits(model.predict_on_batch(images), labels))
                for images, labels in batches
            ]
        )
        return len(correct), {"error_percent": 100 * (1 - float(correct.mean()))}
    predictions = model.predict(batches, verbose="auto")
    labels = np.concatenate([batch.numpy() for _, batch in batches])
    if not info.regression:
        wrong = predictions.argmax(axis=-1) != labels
        return len(labels), {"error_percent": 100 * float(np.mean(wrong))}
    difference = predictions.reshape(labels.shape) - labels
    return len(labels), {
        "mse": float(np.mean(difference**2)),
        "mae": float(np.mean(np.abs(difference))),
    }


def _validate_outputs(model: Any, info: DatasetInfo, label_shape: Any) -> None:
    expected: list[tuple[int, ...]]
    received = [tuple(output.shape[1:]) for output in model.outputs]
    if info.label_classes:
        expected, kind = [(classes,) for classes in info.label_classes], "digits and a length"
    elif info.regression:
        expected, kind = [tuple(label_shape) or (1,)], "continuous"
    else:
        expected, kind = received[:1], "classes"
    if received != expected:
        raise ValueError(
            f"The labels of {info.name!r} are {kind}, so the model must have "
            f"{_describe(expected)}. Received: {_describe(received)}"
        )


def _describe(shapes: list[tuple[int, ...]]) -> str:
    """Formats output shapes, such as "3 outputs of sizes 5, 11, 11", for an error message."""
    sizes = ", ".join(" x ".join(map(str, shape)) for shape in shapes)
    if len(shapes) == 1:
        return f"one output of size {sizes}"
    return f"{len(shapes)} outputs of sizes {sizes}"
