"""The least time that a model's MACs and bytes allow on this machine."""

import math
import statistics
import time

import keras
import tensorflow as tf

import keras_attention as ka


def rates() -> tuple[float, float]:
    """Measured multiply-accumulates and bytes per second: a large convolution, a ReLU.

    8 MB read and as many written are what a thin network's layer moves for a batch of 64: they
    stay in the cache.
    """
    images, kernel = tf.random.normal((64, 14, 14, 256)), tf.random.normal((5, 5, 256, 256))
    convolve = tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "SAME")[0, 0, 0, 0])
    values = tf.random.normal((2, 1024, 1024))
    move = tf.function(lambda: tf.identity(tf.nn.relu(values)))
    macs = 64 * 14 * 14 * 5 * 5 * 256 * 256
    return macs / _median(convolve), 2 * 4 * 2 * 1024 * 1024 / _median(move)


def floor(model: keras.Model, batch: int, peaks: tuple[float, float]) -> tuple[float, float]:
    """Seconds of the MACs at the peak, and of moving every layer's inputs, outputs and weights."""
    values = sum(weight.shape.num_elements() for weight in model.weights)
    for layer in model.layers:
        for tensor in (*keras.tree.flatten(layer.input), *keras.tree.flatten(layer.output)):
            values += batch * math.prod(tensor.shape[1:])
    return batch * ka.inspect.count_macs(model) / peaks[0], 4 * values / peaks[1]


def _median(function: object) -> float:
    times = []
    for _ in range(12):
        start = time.perf_counter()
        function().numpy()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])
