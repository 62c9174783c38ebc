"""LiteRT files by the runtime that comes with TensorFlow."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np


class LiteRTFile:
    """A file that is called with arrays, of any batch size.

    Args:
        path: What `export_litert` wrote.
    """

    def __init__(self, path: Path):
        import tensorflow as tf

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its successor is a package of its own
            self._interpreter = tf.lite.Interpreter(str(path))
        self._places = [each["index"] for each in self._interpreter.get_input_details()]

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs, in the order in which the model returns them."""
        interpreter = self._interpreter
        for place, array in zip(self._places, inputs, strict=True):
            interpreter.resize_tensor_input(place, array.shape)
        interpreter.allocate_tensors()
        for place, array in zip(self._places, inputs, strict=True):
            interpreter.set_tensor(place, array)
        interpreter.invoke()
        outputs = sorted(interpreter.get_output_details(), key=_number)
        return [interpreter.get_tensor(each["index"]) for each in outputs]


def run_litert(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What a file returns for a model's inputs."""
    return LiteRTFile(path)(inputs)


def _number(output: dict[str, Any]) -> int:
    """The output's place among what the model returns; the file has them in any order."""
    number = output["name"].rpartition(":")[2]
    return int(number) if number.isdigit() else 0
