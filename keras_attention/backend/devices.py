"""Several devices that learn as one: each has an equal share of every batch."""

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
if BACKEND == "tensorflow":
    import tensorflow as tf
Tensor = Any


def devices_here() -> int:
    """How many devices can learn together: GPUs or TPUs, or where there are none cores of the CPU.

    Example:
    >>> devices_here() >= 1
    True
    """
    cores = os.cpu_count() or 1
    # JAX divides the CPU before it says what there is.
    return len(_jax_names(cores)) if BACKEND == "jax" else len(accelerators()) or cores


def start_devices(count: int) -> list[str]:
    """Names so many devices, and makes them of the CPU where there are no others.

    The CPU is divided before the backend's first operation; later it stays as it is.

    Args:
        count: How many, 1 or more.

    Returns:
        Names that the backend knows.

    Raises:
        ValueError: Where there are fewer.
        RuntimeError: On a backend that is neither TensorFlow nor JAX.

    Example:
    >>> len(start_devices(1))
    1
    """
    if BACKEND not in ("tensorflow", "jax"):
        raise RuntimeError(
            f"Several devices need the TensorFlow or the JAX backend. Received: backend={BACKEND!r}"
        )
    names = _tensorflow_names(count) if BACKEND == "tensorflow" else _jax_names(count)
    if len(names) < count:
        raise ValueError(
            f"There must be as many devices as are asked for; {BACKEND} has {len(names)}: "
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
        with suppress(RuntimeError):  # it has started, with the devices that it has
            tf.config.set_logical_device_configuration(processor, parts)
    return [f"CPU:{index}" for index in range(len(tf.config.list_logical_devices("CPU")))]


def _jax_names(count: int) -> list[str]:
    if HOST_DEVICES not in os.environ.get("XLA_FLAGS", ""):
        with suppress(RuntimeError):  # it has started, with the devices that it has
            jax.config.update("jax_num_cpu_devices", count)
    return [str(name) for name in keras.distribution.list_devices()]


@contextmanager
def together(count: int) -> Iterator[None]:
    """What is built, compiled and fitted inside is on so many devices.

    TensorFlow mirrors it (`tf.distribute.MirroredStrategy`), JAX computes on arrays whose parts lie
    apart (`keras.distribution.DataParallel`). For a count of 1 nothing is different.

    Args:
        count: How many devices.

    Raises:
        ValueError: Where there are fewer.

    Example:
    >>> with together(1):
    ...     tuple(keras.ops.ones((2,)).shape)
    (2,)
    """
    if count == 1:
        yield
        return
    names = start_devices(count)
    if BACKEND == "jax":
        with keras.distribution.DataParallel(devices=names).scope():
            yield
        return
    # NCCL is for GPUs; parts of a CPU share their memory.
    reduce = None if names[0].startswith("GPU") else tf.distribute.ReductionToOneDevice()
    with tf.distribute.MirroredStrategy(names, cross_device_ops=reduce).scope():
        yield


@contextmanager
def normalized_together(model: keras.Model) -> Iterator[None]:
    """Batch normalization sees the batch of all replicas inside, as on one device.

    Keras leaves each replica of TensorFlow to its own share, and statistics drift apart, of which a
    file keeps the first replica's. On JAX and for one replica nothing is different. Afterwards
    layers are as before, so that their files load on any backend.

    Args:
        model: What is fitted inside, where replicas are counted.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    >>> with normalized_together(model):
    ...     model.layers[0].synchronized
    False
    """
    own = _normalizing_apart(model) if replicas() > 1 else []
    for layer in own:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in own:
            layer.synchronized = False


def _normalizing_apart(model: keras.Model) -> list[Any]:
    kind = keras.layers.BatchNormalization
    layers = model._flatten_layers()
    return [layer for layer in layers if isinstance(layer, kind) and not layer.synchronized]


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
