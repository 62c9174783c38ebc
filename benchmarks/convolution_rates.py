"""What convolutions of windows take, beside what the cost model of the grouping says.

Windows of a batch, 5x5 kernels (3x3 where 24 channels are read), "valid" padding. The model is
`keras_attention.ops.convolution_cost.ConvolutionCost`; its start and its bytes are left out here.
"""

import tensorflow as tf
from timing import alternated

from keras_attention.ops.convolution_cost import ConvolutionCost

SIDES = (3, 5, 9, 14)
KERNELS = (12, 32, 64, 256)
CHANNELS = (1, 24, 256)
BATCHES = (64, 1)


def main() -> None:
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
            times = alternated(calls, rounds=9)
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
