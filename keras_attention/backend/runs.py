"""What is true of a whole run."""

from typing import Any

import keras

from keras_attention.backend.which import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf

Tensor = Any


def replicas() -> int:
    """How many copies of a model learn together: losses are shares of one over them.

    Example:
    >>> replicas()
    1
    """
    if BACKEND != "tensorflow":
        return 1
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def keeps_metrics_of_layers() -> bool:
    """Whether `fit` passes on what a layer says to a metric of its own.

    A step of Keras's trainer for JAX hands layers their weights alone.

    Example:
    >>> keeps_metrics_of_layers() == (BACKEND == "tensorflow")
    True
    """
    return BACKEND == "tensorflow"


def make_deterministic(seed: int) -> None:
    """Seeds Python, NumPy and the backend, and asks for operations that repeat bit for bit.

    Args:
        seed: Any integer of 32 bits.
    """
    keras.utils.set_random_seed(seed)
    if BACKEND == "tensorflow":
        tf.config.experimental.enable_op_determinism()
