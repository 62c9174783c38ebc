"""Latency of target layers: plain convolutions, compacted networks and sliced convolutions.

The regions are either trained on the bundled digits at 28 pixels (with `--train-regions`, which
writes regions.npz) or random: their centers deviate by 0.06 from the middle, and their sizes give
the paper's MACs ratio of 12.9 (table 2). Regions are relative to the map, so the networks for 56
pixels use the same ones. The speed-up is the plain network's time divided by the other's; the
share is the speed-up divided by the MACs ratio. Calls are interleaved in one process; times are
medians.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import ratios
import tensorflow as tf

import keras_attention as ka
from keras_attention.inspect import interleaved_timing
from keras_attention.surgery.compaction import regions
from keras_attention.utils.io import write_atomically

PAPER, PAPER_RATIO = "paper's MACs", 12.9
PER_KERNEL = f"one convolution per kernel, {PAPER}"
SHARED = (None, 4, 8)

REGIONS_FILE = Path(__file__).with_name("regions.npz")
# (network, shared regions per layer, data set, initial learning rate)
TRAININGS = (
    ("TKN6", None, "digits", 0.02),
    ("TKN6", 4, "digits", 0.02),
    ("TKN6", 8, "digits", 0.02),
    ("TDN10", None, "top_left_digits", 0.1),
)
Regions = dict[str, tuple[np.ndarray, np.ndarray]]

TRAIN_SIZE, BATCH, EPOCHS = 300, 50, 40
# Product of the L2 weight of scales, the learning rate and the number of steps: half of the paper's
# 1e-4 * 0.1 * 9,375, as in applications/targeted_kernels.py.
L2_RATE_STEPS = 0.048


def main() -> None:
    """Prints the trained networks, then inference, training steps and thin networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--train-regions",
        action="store_true",
        help="train the networks and write regions.npz (minutes) instead of measuring",
    )
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="measure compacted networks with and without pixel indices instead",
    )
    options = parser.parse_args()
    if options.train_regions:
        train_regions()
        return
    found = {}
    for groups in SHARED:
        found[groups], line = stored_regions("TKN6", groups)
        print(line + ".  ")
    thin, line = stored_regions("TDN10", None)
    print(line + ".\n")
    if options.ablation:
        ablation(found)
        return
    for size in (28, 56):
        inference(size, found)
    training(found)
    thin_networks(thin)


def ablation(found: dict) -> None:
    """Compares compacted TKN6 with and without maps that are kept as pixel indices."""
    print("| pixels | network | batch | with, ms | without, ms | without / with |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size, groups, kind in itertools.product((28, 56), SHARED, ("trained", PAPER)):
        shape = (size, size, 1)
        model = network(shape, groups, kind, found)
        compacted = {}
        for used in (True, False):
            with mock.patch.object(regions, "USE_PIXEL_INDICES", used):
                compacted[used] = ka.surgery.compact(model)
        for batch in (64, 1):
            images = tf.random.uniform((batch, *shape), seed=0)
            calls = {used: forward(fast, images) for used, fast in compacted.items()}
            times = interleaved_timing(calls, rounds=9 if batch > 1 else 101)
            print(
                f"| {size} | {sharing_label(groups)}, {kind} | {batch} | {1e3 * times[True]:.2f} | "
                f"{1e3 * times[False]:.2f} | {times[False] / times[True]:.2f} |"
            )


def inference(size: int, found: dict) -> None:
    """Compares CNN6 with compacted TKN6 and with one sliced convolution per kernel."""
    shape = (size, size, 1)
    plain = ka.applications.CNN6(shape)
    dense = ka.inspect.count_macs(plain)
    models, macs_ratios = {"CNN6": plain}, {"CNN6": 1.0}
    for groups in SHARED:
        for kind in ("trained", PAPER):
            model = network(shape, groups, kind, found)
            name = f"compact, {sharing_label(groups)}, {kind}"
            models[name] = ka.surgery.compact(model)
            macs_ratios[name] = dense / ka.inspect.count_macs(model)
            if (groups, kind, size) == (None, PAPER, 28):
                models[PER_KERNEL], macs_ratios[PER_KERNEL] = (
                    convolve_per_kernel(model),
                    macs_ratios[name],
                )
    for batch in (64, 1):
        if batch == 1:
            models.pop(PER_KERNEL, None)  # as slow as with a batch of 64
        images = tf.random.uniform((batch, *shape), seed=0)
        calls = {name: forward(model, images) for name, model in models.items()}
        times = interleaved_timing(calls, rounds=9 if batch > 1 else 101)
        speedups = {name: times["CNN6"] / seconds for name, seconds in times.items()}
        print(f"Inference, {size} pixels, batch {batch}:\n")
        print("| network | MACs ratio | ms | speed-up | share |")
        print("| --- | --- | --- | --- | --- |")
        for name, seconds in times.items():
            print(
                f"| {name} | {macs_ratios[name]:.2f} | {1e3 * seconds:.2f} | "
                f"{speedups[name]:.2f} | {speedups[name] / macs_ratios[name]:.2f} |"
            )
        print()
        record_inference(size, batch, speedups, macs_ratios)


def record_inference(size: int, batch: int, speedups: dict, macs_ratios: dict) -> None:
    """Records speed-ups and shares with their bars."""
    where = f"{size} pixels, batch {batch}"
    for groups in SHARED:
        name = sharing_label(groups)
        at_paper, trained = (f"compact, {name}, {kind}" for kind in (PAPER, "trained"))
        shared = groups is not None
        if batch == 1:
            bar = 1.7 if shared else None
            ratios.record(f"CNN6 / {at_paper}, {where}", speedups[at_paper], at_least=bar)
            continue
        share = speedups[trained] / macs_ratios[trained]
        share_bar = {28: 0.45, 56: 0.5}[size] if shared else 0.28
        ratios.record(f"CNN6 / {trained}, of MACs, {where}", share, at_least=share_bar)
        bar = {28: 5.0, 56: 8.0}[size] if shared else 2.2
        ratios.record(f"CNN6 / {at_paper}, {where}", speedups[at_paper], at_least=bar)


def network(shape: tuple, groups: int | None, kind: str, found: dict, roi: str = "mask") -> object:
    """Builds TKN6 with trained, random or initial regions."""
    model = ka.applications.TKN6(shape, roi=roi, roi_groups=groups)
    if kind == "trained":
        assign_regions(model, found[groups])
    elif kind == PAPER:
        scatter_regions(model, PAPER_RATIO)
    return model


def convolve_per_kernel(model: keras.Model) -> object:
    """Returns the authors' computation: one convolution per kernel, zero-padded, concatenated."""
    kernels = {layer.name: list(each_kernel(layer)) for layer in target_layers(model)}

    def convolve(layer: keras.Layer, x: tf.Tensor) -> tf.Tensor:
        maps = []
        for kernel, window, (rows, columns) in kernels[layer.name]:
            patch = layer.activation(ka.ops.sliced_convolution(x, kernel, rows, columns))
            maps.append(ka.ops.pad_to_map(patch * window, rows, columns, tuple(x.shape[1:3])))
        return tf.concat(maps, axis=-1)

    def call(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for layer in model.layers[1:]:
            x = convolve(layer, x) if hasattr(layer, "rois") else layer(x, training=training)
        return x

    return call


def each_kernel(layer: keras.Layer) -> Iterator[tuple]:
    """Yields each kernel with its window and the rows and columns of its region."""
    height, width = layer.input.shape[1:3]
    window = np.array(layer.attention_window(height, width, clip=True))
    kernel = np.array(layer.kernel)
    for channel, ((top, bottom), (left, right)) in enumerate(layer.rois(height, width).tolist()):
        own = slice(channel, channel + 1)
        seen = window[top:bottom, left:right, own]
        yield tf.constant(kernel[..., own]), tf.constant(seen), ((top, bottom), (left, right))


def training(found: dict) -> None:
    """Compares training steps with slices and with a mask at 28 pixels, batch 64.

    The time of a masked layer does not depend on its regions, so it is measured once.
    """
    shape = (28, 28, 1)
    images = tf.random.uniform((64, *shape), seed=0)
    masked = network(shape, None, "trained", found)
    models = {"CNN6": ka.applications.CNN6(shape), "mask": masked}
    for kind, shared in (("at first", (None,)), ("trained", SHARED), (PAPER, SHARED)):
        for groups in shared:
            model = network(shape, groups, kind, found, "slice")
            for layer in target_layers(model):
                layer.regroup()
            models[f"slice, {sharing_label(groups)}, {kind}"] = model
    times = interleaved_timing(
        {name: step(model, images) for name, model in models.items()}, rounds=9
    )
    print("Training step, 28 pixels, batch 64:\n")
    print("| network | MACs executed, forward | ms | / CNN6 | mask / network |")
    print("| --- | --- | --- | --- | --- |")
    for name, seconds in times.items():
        macs = ka.inspect.count_macs(models[name], executed=True)
        cnn6_ratio, gain = seconds / times["CNN6"], times["mask"] / seconds
        print(
            f"| {name} | {macs / 1e6:.0f}M | {1e3 * seconds:.0f} | {cnn6_ratio:.2f} | {gain:.2f} |"
        )
        if name.endswith("at first"):
            ratios.record(f"training step: {name} / CNN6", cnn6_ratio, at_most=1.15)
        elif name.startswith("slice"):
            # The paper trains with one region per kernel.
            bar = 1.8 if "per kernel, trained" in name else None
            ratios.record(f"training step: mask / {name}", gain, at_least=bar)
    print()


def thin_networks(found: dict) -> None:
    """Compares DN10 with compacted TDN10 and with the bound given by MACs and memory traffic."""
    peaks = measured_rates()
    print(
        f"Thin networks; lower bound: MACs at {peaks[0] / 1e9:.0f} billion per second plus "
        f"every layer's inputs, outputs and weights at {peaks[1] / 1e9:.0f} GB/s, both rates "
        "measured on this machine:\n"
    )
    print("| pixels | batch | network | MACs | ms | speed-up | lower bound, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in (28, 56):
        shape = (size, size, 1)
        targeted = ka.applications.TDN10(shape, roi="mask")
        assign_regions(targeted, found)
        models = {
            "DN10": ka.applications.DN10(shape),
            "TDN10 compact": ka.surgery.compact(targeted),
        }
        macs = {
            "DN10": ka.inspect.count_macs(models["DN10"]),
            "TDN10 compact": ka.inspect.count_macs(targeted),
        }
        for batch in (64, 1):
            images = tf.random.uniform((batch, *shape), seed=0)
            calls = {name: forward(model, images) for name, model in models.items()}
            times = interleaved_timing(calls, rounds=51 if batch > 1 else 201)
            ratio = times["TDN10 compact"] / times["DN10"]
            ratios.record(f"TDN10 compact / DN10, {size} pixels, batch {batch}", ratio, at_most=1.0)
            for name, seconds in times.items():
                bound = sum(lower_bound(models[name], batch, peaks))
                print(
                    f"| {size} | {batch} | {name} | {macs[name] / 1e6:.1f}M | "
                    f"{1e3 * seconds:.2f} | {times['DN10'] / seconds:.2f} | {1e3 * bound:.2f} |"
                )


def forward(model: object, images: tf.Tensor) -> object:
    """Returns a call that computes the model's outputs and waits for them."""
    compiled = tf.function(lambda x: model(x, training=False))
    return lambda: compiled(images).numpy()


def step(model: keras.Model, images: tf.Tensor) -> object:
    """Returns a call for one training step with a rate that leaves the regions unchanged."""
    model.compile(keras.optimizers.SGD(1e-9), "sparse_categorical_crossentropy")
    labels = tf.zeros(len(images), tf.int64)
    return lambda: model.train_on_batch(images, labels)


def train_regions() -> None:
    """Trains all networks and writes their regions."""
    arrays: dict[str, np.ndarray] = {}
    for name, groups, data, rate in TRAININGS:
        found, line = train_network(name, groups, data, rate)
        print(line, flush=True)
        key = f"{name}/{groups}"
        arrays[f"{key}/line"] = np.array(line)
        for layer, pair in found.items():
            arrays[f"{key}/{layer}/center"], arrays[f"{key}/{layer}/scale"] = pair
    write_atomically(REGIONS_FILE, lambda path: np.savez_compressed(path, **arrays))


def stored_regions(name: str, groups: int | None) -> tuple[Regions, str]:
    """Loads the regions of a trained network and the line that describes its training."""
    found: Regions = {}
    with np.load(REGIONS_FILE) as arrays:
        start = f"{name}/{groups}/"
        for key in arrays.files:
            if key.startswith(start) and key.endswith("/center"):
                layer = key.removeprefix(start).removesuffix("/center")
                found[layer] = (arrays[key], arrays[f"{start}{layer}/scale"])
        return found, str(arrays[f"{start}line"])


def train_network(name: str, groups: int | None, data: str, rate: float) -> tuple[Regions, str]:
    """Trains on the bundled digits at 28 pixels; returns the regions and a line that describes it.

    Args:
        name: A network with target layers.
        groups: Shared regions per layer, or None for one per kernel.
        data: Name of the data set.
        rate: Initial learning rate.
    """
    keras.utils.set_random_seed(0)
    images = ka.datasets.load(data, "train", BATCH, size=28, train_size=TRAIN_SIZE)
    steps = EPOCHS * int(images.cardinality())
    model = ka.applications.build(
        name,
        input_shape=(28, 28, 1),
        roi="mask",
        roi_groups=groups,
        scale_l2=L2_RATE_STEPS / (rate * steps),
    )
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [int(0.6 * steps), int(0.8 * steps)], [rate, rate / 10, rate / 100]
    )
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(images, epochs=EPOCHS, verbose=0, shuffle=False)
    test = ka.datasets.load(data, "test", 256, size=28, train_size=TRAIN_SIZE)
    error = 100 * (1 - model.evaluate(test, verbose=0)[1])
    line = (
        f"{name}, {sharing_label(groups)}: trained on {data} ({TRAIN_SIZE} images, {EPOCHS} "
        f"epochs, rate {rate}, seed 0), test error {error:.2f} %, "
        f"{ka.inspect.count_macs(model) / 1e6:.1f}M MACs"
    )
    return read_regions(model), line


def sharing_label(groups: int | None) -> str:
    """Describes how kernels share regions."""
    return "one region per kernel" if groups is None else f"{groups} shared regions"


def target_layers(model: keras.Model) -> list[keras.Layer]:
    """Returns the layers that have regions."""
    return [layer for layer in model.layers if hasattr(layer, "rois")]


def read_regions(model: keras.Model) -> Regions:
    """Returns the centers and scales of each layer."""
    return {
        layer.name: tuple(keras.ops.convert_to_numpy(w) for w in (layer.center, layer.scale))
        for layer in target_layers(model)
    }


def assign_regions(model: keras.Model, regions: Regions) -> None:
    """Assigns regions to a network of any image size."""
    for layer in target_layers(model):
        center, scale = regions[layer.name]
        layer.center.assign(center)
        layer.scale.assign(scale)


def scatter_regions(model: keras.Model, ratio: float) -> None:
    """Randomizes the centers by 0.06 and shrinks the scales until a MACs ratio is reached."""
    dense = ka.inspect.count_macs(model)  # regions are whole maps at first
    generator = np.random.default_rng(0)
    for layer in target_layers(model):
        layer.center.assign(generator.normal(0.5, 0.06, layer.center.shape).clip(0, 1))
    low, high = 0.0, 1.0
    for _ in range(12):
        scale = (low + high) / 2
        for layer in target_layers(model):
            limited = layer.scale.constraint(tf.fill(layer.scale.shape, scale))
            layer.scale.assign(limited)  # at least 3 pixels, as in training
        if dense / ka.inspect.count_macs(model) > ratio:
            low = scale
        else:
            high = scale


def measured_rates() -> tuple[float, float]:
    """Measures multiply-accumulates per second of a convolution and bytes per second of a ReLU.

    The ReLU reads and writes 8 MB, like a layer of a thin network with a batch of 64. These values
    stay in the cache.
    """
    images, kernel = tf.random.normal((64, 14, 14, 256)), tf.random.normal((5, 5, 256, 256))
    convolve = tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "SAME")[0, 0, 0, 0])
    values = tf.random.normal((2, 1024, 1024))
    move = tf.function(lambda: tf.identity(tf.nn.relu(values)))
    macs = 64 * 14 * 14 * 5 * 5 * 256 * 256
    return macs / _median_seconds(convolve), 2 * 4 * 2 * 1024 * 1024 / _median_seconds(move)


def lower_bound(model: keras.Model, batch: int, peaks: tuple[float, float]) -> tuple[float, float]:
    """Returns the least seconds for the MACs and for the traffic of inputs, outputs and weights."""
    values = sum(weight.shape.num_elements() for weight in model.weights)
    for layer in model.layers:
        for tensor in (*keras.tree.flatten(layer.input), *keras.tree.flatten(layer.output)):
            values += batch * math.prod(tensor.shape[1:])
    return batch * ka.inspect.count_macs(model) / peaks[0], 4 * values / peaks[1]


def _median_seconds(function: object) -> float:
    times = []
    for _ in range(12):
        start = time.perf_counter()
        function().numpy()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


if __name__ == "__main__":
    main()
