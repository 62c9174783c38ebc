"""What convolutions of windows and products with matrices take, beside what the cost models say.

Windows of a batch, 5x5 kernels (3x3 where 24 channels are read), "valid" padding. The model is
`keras_attention.ops.roi_grouping.ConvolutionCost` without its start and the values read. Then
the matrices of `surgery.compact`, and picking entries by their index, beside the rates that
`surgery/compaction/regions.py` goes by.
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
ENTRIES = (1024, 9216)


def main() -> None:
    """Prints the two tables."""
    windows()
    print()
    matrices()


def windows() -> None:
    """Prints a line a window: measured and modelled milliseconds and billions of MACs a second."""
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
    """Prints a line a product and a line a number of picked entries."""
    print("| batch | what | ms | model ms |")
    print("| --- | --- | --- | --- |")
    for batch in BATCHES:
        calls = {"empty": timed(lambda x: x, tf.constant(0.0))}
        models = {}
        for inputs, outputs in MATRICES:
            name = f"product {inputs} x {outputs}"
            calls[name] = product(batch, inputs, outputs)
            models[name] = regions.product_seconds(inputs * outputs, batch)
        for count in ENTRIES:
            name = f"picking {count} entries"
            calls[name] = picking(batch, count)
            models[name] = count * batch * regions.GATHER_SECONDS
        times = interleaved_timing(calls, rounds=21)
        for name, model in models.items():
            seconds = max(times[name] - times["empty"], 1e-9)
            print(f"| {batch} | {name} | {1e3 * seconds:.2f} | {1e3 * model:.2f} |")


def product(batch: int, inputs: int, outputs: int) -> object:
    """A call that multiplies a batch with a matrix and waits."""
    matrix = tf.random.normal((inputs, outputs))
    return timed(lambda x: tf.matmul(x, matrix)[0, 0], tf.random.normal((batch, inputs)))


def picking(batch: int, count: int) -> object:
    """A call that picks entries in another order and waits."""
    order = tf.random.shuffle(tf.range(count))
    return timed(lambda x: tf.gather(x, order, axis=1)[0, 0], tf.random.normal((batch, count)))


def convolution(batch: int, channels: int, taps: int, kernels: int, side: int) -> object:
    """A call that convolves and waits."""
    images = tf.random.normal((batch, side + taps - 1, side + taps - 1, channels))
    kernel = tf.random.normal((taps, taps, channels, kernels))
    return timed(lambda x: tf.nn.conv2d(x, kernel, 1, "VALID")[0, 0, 0, 0], images)


def timed(function: object, argument: tf.Tensor) -> object:
    """A call of a traced function that waits for its result."""
    compiled = tf.function(function)
    return lambda: compiled(argument).numpy()


if __name__ == "__main__":
    main()
