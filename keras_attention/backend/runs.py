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


def fit_looks_ahead(model: keras.Model) -> bool:
    """Whether `fit` iterates over data once before it begins, to build metrics with a batch.

    A shuffled data set has another order when it is iterated over again.

    Example:
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> fit_looks_ahead(model) == (BACKEND != "tensorflow")
    True
    """
    if BACKEND != "tensorflow":
        return True
    with model.distribute_strategy.scope():
        return bool(tf.distribute.has_strategy())


def accelerators() -> list[str]:
    """Names the devices other than CPUs that the backend sees; of other backends none.

    Example:
    >>> isinstance(accelerators(), list)
    True
    """
    if BACKEND == "tensorflow":
        devices = tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU")
        return [_kind_of(device) for device in devices]
    if BACKEND == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return []


def _kind_of(device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    return str(details.get("device_name", device.name))


def make_deterministic(seed: int) -> None:
    """Seeds Python, NumPy and the backend, and asks for operations that repeat bit for bit.

    Args:
        seed: Any integer of 32 bits.
    """
    keras.utils.set_random_seed(seed)
    if BACKEND == "tensorflow":
        tf.config.experimental.enable_op_determinism()
