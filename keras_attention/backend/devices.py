"""Devices: training on several of them, replicas, and determinism."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras

from keras_attention.backend.tensors import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
HOST_DEVICES = "xla_force_host_platform_device_count"


def device_count() -> int:
    """Returns how many devices can train together: GPUs or TPUs, or else CPU cores."""
    cores = os.cpu_count() or 1
    # JAX must split the CPU before it lists its devices.
    return len(_jax_names(cores)) if BACKEND == "jax" else len(accelerators()) or cores


def device_names(count: int) -> list[str]:
    """Returns the names of devices; without accelerators the CPU is split into several.

    The CPU can be split only before the backend runs its first operation.

    Example:
    >>> len(device_names(1))
    1
    """
    if BACKEND not in ("tensorflow", "jax"):
        raise RuntimeError(
            f"Several devices need the TensorFlow or the JAX backend. Received: backend={BACKEND!r}"
        )
    names = _tensorflow_names(count) if BACKEND == "tensorflow" else _jax_names(count)
    if len(names) < count:
        raise ValueError(
            f"`devices` must be at most {len(names)}, the number of devices that {BACKEND} has: "
            f"{', '.join(names)}. Received: devices={count}"
        )
    return names[:count]


def _tensorflow_names(count: int) -> list[str]:
    graphics = len(tf.config.list_physical_devices("GPU"))
    if graphics:
        return [f"GPU:{index}" for index in range(graphics)]
    processor = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(processor) or ()) < count:
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        with suppress(RuntimeError):  # TensorFlow has been initialized with other devices
            tf.config.set_logical_device_configuration(processor, parts)
    return [f"CPU:{index}" for index in range(len(tf.config.list_logical_devices("CPU")))]


def _jax_names(count: int) -> list[str]:
    if HOST_DEVICES not in os.environ.get("XLA_FLAGS", ""):
        with suppress(RuntimeError):  # JAX has been initialized with other devices
            jax.config.update("jax_num_cpu_devices", count)
    return [str(name) for name in keras.distribution.list_devices()]


@contextmanager
def device_scope(count: int) -> Iterator[None]:
    """Builds, compiles and fits models on several devices inside a `with` block.

    TensorFlow uses `tf.distribute.MirroredStrategy`, JAX `keras.distribution.DataParallel`. A count
    of 1 changes nothing.

    Example:
    >>> with device_scope(1):
    ...     tuple(keras.ops.ones((2,)).shape)
    (2,)
    """
    if count == 1:
        yield
        return
    names = device_names(count)
    if BACKEND == "jax":
        with keras.distribution.DataParallel(devices=names).scope():
            yield
        return
    # NCCL reduces between GPUs only; logical CPU devices share their memory.
    reduce = None if names[0].startswith("GPU") else tf.distribute.ReductionToOneDevice()
    with tf.distribute.MirroredStrategy(names, cross_device_ops=reduce).scope():
        yield


@contextmanager
def synchronized_batch_norm(model: keras.Model) -> Iterator[None]:
    """Synchronizes the batch statistics of BatchNormalization layers in a `with` block.

    Otherwise each TensorFlow replica normalizes its own share of the batch, the moving statistics
    diverge, and only those of the first replica are saved. Nothing changes with JAX or with one
    replica. Afterwards the layers are as before, so that saved models load on any backend.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    >>> with synchronized_batch_norm(model):
    ...     model.layers[0].synchronized
    False
    """
    layers = _unsynchronized_layers(model) if replicas() > 1 else []
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = False


def _unsynchronized_layers(model: keras.Model) -> list[Any]:
    kind = keras.layers.BatchNormalization
    layers = model._flatten_layers()
    return [layer for layer in layers if isinstance(layer, kind) and not layer.synchronized]


def replicas() -> int:
    """Returns the number of replicas in sync; the losses of each are divided by it."""
    if BACKEND != "tensorflow":
        return 1
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def supports_layer_metrics() -> bool:
    """Returns True if `fit` reports metrics that layers update while they are called.

    The training step of Keras's JAX trainer passes only the weights to layers.
    """
    return BACKEND == "tensorflow"


def fit_iterates_twice(model: keras.Model) -> bool:
    """Returns True if `fit` iterates over the data once before training, to build metrics.

    A shuffled dataset has another order in its second iteration.
    """
    if BACKEND != "tensorflow":
        return True
    with model.distribute_strategy.scope():
        return bool(tf.distribute.has_strategy())


def accelerators() -> list[str]:
    """Returns the names of GPUs and TPUs, with TensorFlow and JAX."""
    if BACKEND == "tensorflow":
        devices = tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU")
        return [_kind_of(device) for device in devices]
    if BACKEND == "jax":
        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return []


def _kind_of(device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    return str(details.get("device_name", device.name))


def make_deterministic(seed: int) -> None:
    """Seeds Python, NumPy and the backend, and enables deterministic operations.

    Args:
        seed: A 32-bit integer.
    """
    keras.utils.set_random_seed(seed)
    if BACKEND == "tensorflow":
        tf.config.experimental.enable_op_determinism()
