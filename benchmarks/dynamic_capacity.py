"""Dynamic Capacity Networks by the clock: a few fine patches beside the fine model.

Cluttered digits, 100x100: a DCN is trained for a minute, so that it looks where digits are; its
own fine layers and top are the fine model. Both are folded (`surgery.fold_batch_normalization`)
and take turns on test images, in graphs that take any batch; medians. Steps of training take turns
likewise. House numbers, the largest sizes of SVHN: new networks of the paper's width, one image at
a time.
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
    """Prints the ratios of each part."""
    model = trained()
    fine = fine_model_of(model)
    report_sizes(model, fine)
    report_inference(model, fine)
    report_steps()
    report_numbers()


def trained() -> keras.Model:
    """A DCN after some steps on cluttered digits."""
    keras.utils.set_random_seed(0)
    model = ka.applications.DCN()
    model.compile("adam", "sparse_categorical_crossentropy")
    digits = ka.datasets.load("cluttered_digits", "train", BATCH).repeat()
    model.fit(digits, steps_per_epoch=STEPS, verbose=0)
    return model


def fine_model_of(model: keras.Model) -> keras.Model:
    """The fine layers on whole images, and the top, of the same weights."""
    refiner = model.get_layer("refiner")
    images = keras.Input((100, 100, 1))
    return keras.Model(images, refiner.top(refiner.fine(images)), name="fine")


def served(model: keras.Model) -> Callable[[tf.Tensor], object]:
    """The model as a graph for any batch, which waits for its answer."""
    shape = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    graph = tf.function(
        lambda images: model(images, training=False), input_signature=[shape], autograph=False
    )

    def call(images: tf.Tensor) -> object:
        return [answer.numpy() for answer in keras.tree.flatten(graph(images))]

    return call


def on(images: tf.Tensor, calls: dict[str, Callable]) -> dict[str, Callable]:
    """The same calls without arguments."""
    return {name: lambda call=call: call(images) for name, call in calls.items()}


def report_sizes(model: keras.Model, fine: keras.Model) -> None:
    """Prints multiply-accumulates."""
    millions = {
        "fine": ka.inspect.count_macs(fine),
        "DCN, by the method": ka.inspect.count_macs(model),
        "DCN, executed": ka.inspect.count_macs(model, executed=True),
    }
    executed = millions["DCN, executed"] / 1e6
    ratios.keep("millions of MACs that DCN executes, batch 1", executed, at_most=27.7)
    print("| model | MACs, millions |")
    print("| --- | --- |")
    for name, macs in millions.items():
        print(f"| {name} | {macs / 1e6:.1f} |")


def report_inference(model: keras.Model, fine: keras.Model) -> None:
    """Prints how much faster the DCN answers."""
    tests = ka.datasets.load("cluttered_digits", "test", BATCH)
    images = next(iter(tests))[0]
    dcn, fine = map(ka.surgery.fold_batch_normalization, (model, fine))
    without = np.abs(served(dcn)(images)[0] - model.predict_on_batch(images)).max()
    print(f"\nLargest difference of the folded DCN's answers: {without:.1e}\n")
    print("| batch | fine, ms | DCN, ms | fine / DCN |")
    print("| --- | --- | --- | --- |")
    calls = {"fine": served(fine), "DCN": served(dcn)}
    for batch, rounds in ((1, 501), (2, 201), (4, 201), (8, 101), (64, 41)):
        times = interleaved_timing(on(images[:batch], calls), rounds)
        print(row(batch, times["fine"], times["DCN"]), flush=True)
        bar = INFERENCE_BARS.get(batch)
        ratios.keep(f"fine / DCN, batch {batch}", times["fine"] / times["DCN"], at_least=bar)


def report_steps() -> None:
    """Prints the time of training steps."""
    images, labels = next(iter(ka.datasets.load("cluttered_digits", "train", BATCH)))
    calls = {}
    for name in ("DCNCoarse", "DCNFine", "DCN"):
        model = ka.applications.build(name)
        model.compile("adam", "sparse_categorical_crossentropy")
        calls[name] = lambda model=model: model.train_on_batch(images, labels)
    times = interleaved_timing(calls, rounds=11)
    print("\n| step of training, 64 images | ms | fine / it |")
    print("| --- | --- | --- |")
    for name, seconds in times.items():
        print(f"| {name} | {1e3 * seconds:.0f} | {times['DCNFine'] / seconds:.2f} |", flush=True)
    ratios.keep("training step: fine / DCN", times["DCNFine"] / times["DCN"], at_least=1.0)


def report_numbers() -> None:
    """Prints how much faster house numbers are read in large photographs."""
    shape = (None, None, 1)
    models = {
        name: ka.applications.build(name, input_shape=shape)
        for name in ("SVHNCoarse", "SVHNFine", "SVHNDCN")
    }
    calls = {name: served(model) for name, model in models.items()}
    print("\n| size | coarse, ms | fine, ms | DCN, 6 patches, ms | fine / DCN | of MACs |")
    print("| --- | --- | --- | --- | --- | --- |")
    means: dict[str, list[float]] = {name: [] for name in calls}
    for size in SVHN_SIZES:
        image = tf.random.uniform((1, *size, 1), seed=0)
        times = interleaved_timing(on(image, calls), 9, 2)
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
    ratios.keep("fine / DCN, 6 patches, largest house numbers", fine / dcn, at_least=5.8)


def row(batch: int, fine: float, dcn: float) -> str:
    """A line of the table of inference."""
    return f"| {batch} | {1e3 * fine:.2f} | {1e3 * dcn:.2f} | {fine / dcn:.2f} |"


if __name__ == "__main__":
    main()
