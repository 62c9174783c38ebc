"""Target layers by the clock: networks of plain convolutions beside compacted and sliced ones.

The regions are trained on the bundled digits at 28 pixels (by `regions.py`), or scattered by 0.06
around the middle and of sizes that bring the MACs to the paper's ratio of 12.9 (table 2). They are
relative, so the networks for 56 pixels have the same. A speed-up is the plain network's time over
the other's; share is the speed-up over the ratio of MACs. Calls take turns in one process; medians.
"""

from collections.abc import Iterator

import keras
import numpy as np
import ratios
import regions
import roofline
import tensorflow as tf

import keras_attention as ka
from keras_attention.inspect import interleaved_timing

PAPER, PAPER_RATIO = "paper's MACs", 12.9
ALONE = f"one convolution a kernel, {PAPER}"
SHARED = (None, 4, 8)


def main() -> None:
    """Prints the trainings, then inference, training steps and thin networks."""
    found = {}
    for groups in SHARED:
        found[groups], line = regions.stored("TKN6", groups)
        print(line + ".  ")
    thin, line = regions.stored("TDN10", None)
    print(line + ".\n")
    for size in (28, 56):
        inference(size, found)
    training(found)
    thin_networks(thin)


def inference(size: int, found: dict) -> None:
    """CNN6 beside compacted TKN6, and beside one sliced convolution per kernel."""
    shape = (size, size, 1)
    plain = ka.applications.CNN6(shape)
    dense = ka.inspect.count_macs(plain)
    models, fewer = {"CNN6": plain}, {"CNN6": 1.0}
    for groups in SHARED:
        for kind in ("trained", PAPER):
            model = network(shape, groups, kind, found)
            name = f"compact, {regions.label(groups)}, {kind}"
            models[name] = ka.surgery.compact(model)
            fewer[name] = dense / ka.inspect.count_macs(model)
            if (groups, kind, size) == (None, PAPER, 28):
                models[ALONE], fewer[ALONE] = one_by_one(model), fewer[name]
    for batch in (64, 1):
        if batch == 1:
            models.pop(ALONE, None)  # as slow as at 64
        images = tf.random.uniform((batch, *shape), seed=0)
        calls = {name: forward(model, images) for name, model in models.items()}
        times = interleaved_timing(calls, rounds=9 if batch > 1 else 101)
        speedups = {name: times["CNN6"] / seconds for name, seconds in times.items()}
        print(f"Inference, {size} pixels, batch {batch}:\n")
        print("| network | MACs ratio | ms | speed-up | share |")
        print("| --- | --- | --- | --- | --- |")
        for name, seconds in times.items():
            print(
                f"| {name} | {fewer[name]:.2f} | {1e3 * seconds:.2f} | {speedups[name]:.2f} | "
                f"{speedups[name] / fewer[name]:.2f} |"
            )
        print()
        keep_inference(size, batch, speedups, fewer)


def keep_inference(size: int, batch: int, speedups: dict, fewer: dict) -> None:
    """Keeps speed-ups and shares for their bars."""
    where = f"{size} pixels, batch {batch}"
    for groups in SHARED:
        name = regions.label(groups)
        at_paper, trained = (f"compact, {name}, {kind}" for kind in (PAPER, "trained"))
        shared = groups is not None
        if batch == 1:
            bar = 1.7 if shared else None
            ratios.keep(f"CNN6 / {at_paper}, {where}", speedups[at_paper], at_least=bar)
            continue
        share = speedups[trained] / fewer[trained]
        share_bar = {28: 0.45, 56: 0.5}[size] if shared else 0.28
        ratios.keep(f"CNN6 / {trained}, of MACs, {where}", share, at_least=share_bar)
        bar = {28: 5.0, 56: 8.0}[size] if shared else 2.2
        ratios.keep(f"CNN6 / {at_paper}, {where}", speedups[at_paper], at_least=bar)


def network(shape: tuple, groups: int | None, kind: str, found: dict, roi: str = "mask") -> object:
    """TKN6 with regions of a kind."""
    model = ka.applications.TKN6(shape, roi=roi, roi_groups=groups)
    if kind == "trained":
        regions.write(model, found[groups])
    elif kind == PAPER:
        regions.scatter(model, PAPER_RATIO)
    return model


def one_by_one(model: keras.Model) -> object:
    """The authors' way: each kernel's region convolved alone, zero-padded and concatenated."""
    kernels = {layer.name: list(each_kernel(layer)) for layer in regions.target_layers(model)}

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
    """Every kernel alone, with its window and the rows and columns of its region."""
    height, width = layer.input.shape[1:3]
    window = np.array(layer.attention_window(height, width, clip=True))
    kernel = np.array(layer.kernel)
    for channel, ((top, bottom), (left, right)) in enumerate(layer.rois(height, width).tolist()):
        own = slice(channel, channel + 1)
        seen = window[top:bottom, left:right, own]
        yield tf.constant(kernel[..., own]), tf.constant(seen), ((top, bottom), (left, right))


def training(found: dict) -> None:
    """A step of training at 28 pixels, batch 64: slices, regrouped, beside a mask.

    What a masked layer takes does not depend on its regions.
    """
    shape = (28, 28, 1)
    images = tf.random.uniform((64, *shape), seed=0)
    masked = network(shape, None, "trained", found)
    models = {"CNN6": ka.applications.CNN6(shape), "mask": masked}
    for kind, shared in (("at first", (None,)), ("trained", SHARED), (PAPER, SHARED)):
        for groups in shared:
            model = network(shape, groups, kind, found, "slice")
            for layer in regions.target_layers(model):
                layer.regroup()
            models[f"slice, {regions.label(groups)}, {kind}"] = model
    times = interleaved_timing({name: step(model, images) for name, model in models.items()}, rounds=9)
    print("Training step, 28 pixels, batch 64:\n")
    print("| network | MACs executed, forward | ms | / CNN6 | mask / it |")
    print("| --- | --- | --- | --- | --- |")
    for name, seconds in times.items():
        macs = ka.inspect.count_macs(models[name], executed=True)
        beside_cnn6, gain = seconds / times["CNN6"], times["mask"] / seconds
        print(
            f"| {name} | {macs / 1e6:.0f}M | {1e3 * seconds:.0f} | {beside_cnn6:.2f} | {gain:.2f} |"
        )
        if name.endswith("at first"):
            ratios.keep(f"training step: {name} / CNN6", beside_cnn6, at_most=1.15)
        elif name.startswith("slice"):
            # One region a kernel is what the paper trains.
            bar = 1.8 if "a kernel, trained" in name else None
            ratios.keep(f"training step: mask / {name}", gain, at_least=bar)
    print()


def thin_networks(found: dict) -> None:
    """DN10 beside compacted TDN10, with what their MACs and bytes allow."""
    peaks = roofline.rates()
    print(
        f"Thin networks; floor: MACs at {peaks[0] / 1e9:.0f} billion a second plus every layer's "
        f"inputs, outputs and weights at {peaks[1] / 1e9:.0f} GB/s, as measured here:\n"
    )
    print("| pixels | batch | network | MACs | ms | speed-up | floor ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in (28, 56):
        shape = (size, size, 1)
        targeted = ka.applications.TDN10(shape, roi="mask")
        regions.write(targeted, found)
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
            ratios.keep(f"TDN10 compact / DN10, {size} pixels, batch {batch}", ratio, at_most=1.0)
            for name, seconds in times.items():
                least = sum(roofline.floor(models[name], batch, peaks))
                print(
                    f"| {size} | {batch} | {name} | {macs[name] / 1e6:.1f}M | "
                    f"{1e3 * seconds:.2f} | {times['DN10'] / seconds:.2f} | {1e3 * least:.2f} |"
                )


def forward(model: object, images: tf.Tensor) -> object:
    """A call that computes the model's outputs and waits for them."""
    compiled = tf.function(lambda x: model(x, training=False))
    return lambda: compiled(images).numpy()


def step(model: keras.Model, images: tf.Tensor) -> object:
    """A call that trains for one step, so gently that the regions stay."""
    model.compile(keras.optimizers.SGD(1e-9), "sparse_categorical_crossentropy")
    labels = tf.zeros(len(images), tf.int64)
    return lambda: model.train_on_batch(images, labels)


if __name__ == "__main__":
    main()
