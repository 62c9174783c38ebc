"""Latency of Dynamic Capacity Networks compared with their fine model.

Cluttered digits, 100x100: a DCN is trained for a minute, so that it selects patches with digits.
Its fine layers and top form the fine model. Batch normalization of both is folded
(`surgery.fold_batch_normalization`), and their calls are interleaved on test images, in graphs for
any batch size; times are medians. Training steps are interleaved too. House numbers are measured
at the largest image sizes of SVHN with untrained networks of the paper's width, one image at a
time.
"""

import statistics
from collections.abc import Callable

import keras
import numpy as np
import ratios
import tensorflow as tf

import keras_attention as ka
from keras_attention.inspect import interleaved_timing

BATCH, STEPS = 64, 250
INFERENCE_BARS = {1: 1.5, 64: 3.3}
SVHN_SIZES = ((363, 735), (380, 820), (402, 880), (420, 960), (442, 1083))


def main() -> None:
    """Prints multiply-accumulates, inference, training steps and house numbers."""
    model = train_dcn()
    fine = extract_fine_model(model)
    report_sizes(model, fine)
    report_inference(model, fine)
    report_steps()
    report_numbers()


def train_dcn() -> keras.Model:
    """Trains a DCN for some steps on cluttered digits."""
    keras.utils.set_random_seed(0)
    model = ka.applications.DCN()
    model.compile("adam", "sparse_categorical_crossentropy")
    digits = ka.datasets.load("cluttered_digits", "train", BATCH).repeat()
    model.fit(digits, steps_per_epoch=STEPS, verbose=0)
    return model


def extract_fine_model(model: keras.Model) -> keras.Model:
    """Returns the fine layers on whole images and the top, with shared weights."""
    refiner = model.get_layer("refiner")
    images = keras.Input((100, 100, 1))
    return keras.Model(images, refiner.top(refiner.fine(images)), name="fine")


def served(model: keras.Model) -> Callable[[tf.Tensor], object]:
    """Returns a call of the model in a graph for any batch size that waits for the outputs."""
    shape = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    graph = tf.function(
        lambda images: model(images, training=False), input_signature=[shape], autograph=False
    )

    def call(images: tf.Tensor) -> object:
        return [output.numpy() for output in keras.tree.flatten(graph(images))]

    return call


def with_images(images: tf.Tensor, calls: dict[str, Callable]) -> dict[str, Callable]:
    """Binds the calls to their arguments."""
    return {name: lambda call=call: call(images) for name, call in calls.items()}


def report_sizes(model: keras.Model, fine: keras.Model) -> None:
    """Prints multiply-accumulates."""
    millions = {
        "fine": ka.inspect.count_macs(fine),
        "DCN, as in the paper": ka.inspect.count_macs(model),
        "DCN, executed": ka.inspect.count_macs(model, executed=True),
    }
    executed = millions["DCN, executed"] / 1e6
    ratios.record("MACs executed by the DCN in millions, batch 1", executed, at_most=27.7)
    print("| model | MACs, millions |")
    print("| --- | --- |")
    for name, macs in millions.items():
        print(f"| {name} | {macs / 1e6:.1f} |")


def report_inference(model: keras.Model, fine: keras.Model) -> None:
    """Prints the speed-up of inference."""
    tests = ka.datasets.load("cluttered_digits", "test", BATCH)
    images = next(iter(tests))[0]
    dcn, fine = map(ka.surgery.fold_batch_normalization, (model, fine))
    difference = np.abs(served(dcn)(images)[0] - model.predict_on_batch(images)).max()
    print(f"\nLargest difference of the outputs after folding: {difference:.1e}\n")
    print("| batch | fine, ms | DCN, ms | fine / DCN |")
    print("| --- | --- | --- | --- |")
    calls = {"fine": served(fine), "DCN": served(dcn)}
    for batch, rounds in ((1, 501), (2, 201), (4, 201), (8, 101), (64, 41)):
        times = interleaved_timing(with_images(images[:batch], calls), rounds)
        print(row(batch, times["fine"], times["DCN"]), flush=True)
        bar = INFERENCE_BARS.get(batch)
        ratios.record(f"fine / DCN, batch {batch}", times["fine"] / times["DCN"], at_least=bar)


def report_steps() -> None:
    """Prints the latency of training steps."""
    images, labels = next(iter(ka.datasets.load("cluttered_digits", "train", BATCH)))
    calls = {}
    for name in ("DCNCoarse", "DCNFine", "DCN"):
        model = ka.applications.build(name)
        model.compile("adam", "sparse_categorical_crossentropy")
        calls[name] = lambda model=model: model.train_on_batch(images, labels)
    times = interleaved_timing(calls, rounds=11)
    print("\n| training step, 64 images | ms | fine / model |")
    print("| --- | --- | --- |")
    for name, seconds in times.items():
        print(f"| {name} | {1e3 * seconds:.0f} | {times['DCNFine'] / seconds:.2f} |", flush=True)
    ratios.record("training step: fine / DCN", times["DCNFine"] / times["DCN"], at_least=1.0)


def report_numbers() -> None:
    """Prints the speed-up on house numbers in large photographs."""
    shape = (None, None, 1)
    models = {
        name: ka.applications.build(name, input_shape=shape)
        for name in ("SVHNCoarse", "SVHNFine", "SVHNDCN")
    }
    calls = {name: served(model) for name, model in models.items()}
    print("\n| size | coarse, ms | fine, ms | DCN, 6 patches, ms | fine / DCN | MACs, fine / DCN |")
    print("| --- | --- | --- | --- | --- | --- |")
    means: dict[str, list[float]] = {name: [] for name in calls}
    for size in SVHN_SIZES:
        image = tf.random.uniform((1, *size, 1), seed=0)
        times = interleaved_timing(with_images(image, calls), 9, 2)
        macs = {k: ka.inspect.count_macs(model, (*size, 1)) for k, model in models.items()}
        for name, seconds in times.items():
            means[name].append(seconds)
        cells = [f"{size[0]}x{size[1]}", *(f"{1e3 * seconds:.0f}" for seconds in times.values())]
        cells.append(f"{times['SVHNFine'] / times['SVHNDCN']:.2f}")
        cells.append(f"{macs['SVHNFine'] / macs['SVHNDCN']:.2f}")
        print(f"| {' | '.join(cells)} |", flush=True)
    fine, dcn = (statistics.mean(means[name]) for name in ("SVHNFine", "SVHNDCN"))
    print(f"| mean | {1e3 * statistics.mean(means['SVHNCoarse']):.0f} ", end="")
    print(f"| {1e3 * fine:.0f} | {1e3 * dcn:.0f} | {fine / dcn:.2f} | |")
    ratios.record("fine / DCN, 6 patches, largest house numbers", fine / dcn, at_least=5.8)


def row(batch: int, fine: float, dcn: float) -> str:
    """Formats a row of the table of inference."""
    return f"| {batch} | {1e3 * fine:.2f} | {1e3 * dcn:.2f} | {fine / dcn:.2f} |"


if __name__ == "__main__":
    main()
