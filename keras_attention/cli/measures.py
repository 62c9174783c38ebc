"""The errors of a model on labelled data, as the papers' tables have them."""

from typing import Any

import numpy as np

from keras_attention import ops
from keras_attention.datasets import DatasetInfo

# How they are headed for people.
HEADINGS = {"error_percent": "error %", "mse": "MSE", "mae": "MAE"}


def errors(model: Any, batches: Any, info: DatasetInfo) -> tuple[int, dict[str, float]]:
    """Measures a model.

    Classes are counted by the most probable one, numbers of several digits as right where the
    length and all digits are (equation 9 of Almahairi et al., Dynamic Capacity Networks, 2016);
    numbers that are estimated have squared and absolute errors.

    Args:
        model: A trained model, or what predicts as one.
        batches: `(examples, labels)`.
        info: Of the data set.

    Returns:
        How many examples there are, and their errors by name.

    Raises:
        ValueError: For a model of other answers than the data have labels.
    """
    _check_outputs(model, info, batches.element_spec[1].shape[1:])
    if info.label_classes:
        # Pictures of different sizes cannot be predicted as one array.
        hits = [
            np.asarray(ops.sequence_hits(model.predict_on_batch(images), labels))
            for images, labels in batches
        ]
        right = np.concatenate(hits)
        return len(right), {"error_percent": 100 * (1 - float(right.mean()))}
    predicted = model.predict(batches, verbose="auto")
    labels = np.concatenate([batch.numpy() for _, batch in batches])
    if not info.regression:
        wrong = predicted.argmax(axis=-1) != labels
        return len(labels), {"error_percent": 100 * float(np.mean(wrong))}
    difference = predicted.reshape(labels.shape) - labels
    return len(labels), {
        "mse": float(np.mean(difference**2)),
        "mae": float(np.mean(np.abs(difference))),
    }


def _check_outputs(model: Any, info: DatasetInfo, label: Any) -> None:
    wanted: list[tuple[int, ...]]
    answers = [tuple(output.shape[1:]) for output in model.outputs]
    if info.label_classes:
        wanted, said = [(classes,) for classes in info.label_classes], "several classes"
    elif info.regression:
        wanted, said = [tuple(label) or (1,)], "numbers"
    else:
        wanted, said = [answers[0]], "classes"
    if answers != wanted:
        raise ValueError(
            f"The labels of {info.name!r} are {said}, so the model must have "
            f"{_outputs(wanted)}. Received: outputs of {_outputs(answers)}"
        )


def _outputs(shapes: list[tuple[int, ...]]) -> str:
    """Says how many there are.

    Example:
    >>> _outputs([(1,)]), _outputs([(5,), (11,), (11,)])
    ('one answer of 1', '3 answers of 5, 11, 11')
    """
    sizes = ", ".join(" x ".join(map(str, shape)) for shape in shapes)
    return f"{'one answer' if len(shapes) == 1 else f'{len(shapes)} answers'} of {sizes}"
