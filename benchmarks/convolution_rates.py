"""Measured times of convolutions and matrix products compared with the cost models.

The first table has convolutions of a batch of windows with 5x5 kernels (3x3 where the input has 24
channels) and "valid" padding. Its model is `keras_attention.ops.roi_grouping.ConvolutionCost`
without the start-up time and the time to read the input. The second table has the matrix products
and the gathers of single values that `surgery.compact` uses, compared with the rates in
`surgery/compaction/regions.py`.
"""

import tensorflow as tf

from keras_attention.inspect import interleaved_timing
from keras_attention.ops.roi_grouping import ConvolutionCost
from keras_attention.surgery.compaction import regions

SIDES = (3, 5, 9, 14)
KERNELS = (12, 32, 64, 256)
CHANNELS = (1, 24, 256)
BATCHES = (64, 1)
MATRICES = ((1024, 1024), (3072, 3072))
VALUES = (1024, 9216)


def main() -> None:
    """Prints the two tables."""
    windows()
    print()
    matrices()


def windows() -> None:
    """Prints measured and predicted milliseconds and billions of MACs per second per window."""
    print("| batch | channels | kernels | window | ms | model ms | GMAC/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    empty = tf.constant(0.0)
    for batch in BATCHES:
        for channels in CHANNELS:
            taps = 3 if channels == 24 else 5
            cases = [(kernels, side) for kernels in KERNELS for side in SIDES]
            calls = {case: convolution(batch, channels, taps, *case) for case in cases}
            calls["empty"] = timed(lambda x: x, empty)
            times = interleaved_timing(calls, rounds=9)
            for kernels, side in cases:
                seconds = max(times[kernels, side] - times["empty"], 1e-9)
                macs = batch * side * side * kernels * channels * taps * taps
                model = float(
                    ConvolutionCost(start=0.0).seconds(
                        side**2, kernels, taps * taps * channels, 0, batch
                    )
                )
                print(
                    f"| {batch} | {channels} | {kernels} | {side}x{side} | {1e3 * seconds:.2f} | "
                    f"{1e3 * model:.2f} | {macs / seconds / 1e9:.0f} |"
                )


def matrices() -> None:
    """Prints measured and predicted milliseconds of matrix products and gathers."""
    print("| batch | operation | ms | model ms |")
    print("| --- | --- | --- | --- |")
    for batch in BATCHES:
        calls = {"empty": timed(lambda x: x, tf.constant(0.0))}
        models = {}
        for inputs, outputs in MATRICES:
            name = f"product {inputs} x {outputs}"
            calls[name] = product(batch, inputs, outputs)
            models[name] = regions.product_seconds(inputs * outputs, batch)
        for count in VALUES:
            name = f"gather of {count} values"
            calls[name] = gather(batch, count)
            models[name] = count * batch * regions.GATHER_SECONDS
        times = interleaved_timing(calls, rounds=21)
        for name, model in models.items():
            seconds = max(times[name] - times["empty"], 1e-9)
            print(f"| {batch} | {name} | {1e3 * seconds:.2f} | {1e3 * model:.2f} |")


def product(batch: int, inputs: int, outputs: int) -> object:
    """Returns a call that multiplies a batch with a matrix and waits for the result."""
    matrix = tf.random.normal((inputs, outputs))
    return timed(lambda x: tf.matmul(x, matrix)[0, 0], tf.random.normal((batch, inputs)))


def gather(batch: int, count: int) -> object:
    """Returns a call that gathers values in random order and waits for the result."""
    order = tf.random.shuffle(tf.range(count))
    return timed(lambda x: tf.gather(x, order, axis=1)[0, 0], tf.random.normal((batch, count)))


def convolution(batch: int, channels: int, taps: int, kernels: int, side: int) -> object:
    """Returns a call that computes a convolution and waits for the result."""
    images = tf.random.normal((batch, side + taps - 1, side + taps - 1, channels))
    kernel = tf.random.normal((taps, taps, channels, kernels))
    return timed(lambda x: tf.nn.conv2d(x, kernel, 1, "VALID")[0, 0, 0, 0], images)


def timed(function: object, argument: tf.Tensor) -> object:
    """Returns a call of the traced function that waits for its result."""
    compiled = tf.function(function)
    return lambda: compiled(argument).numpy()


if __name__ == "__main__":
    main()
