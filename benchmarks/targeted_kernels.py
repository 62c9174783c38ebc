"""Target layers by the clock: networks of plain convolutions beside compacted and sliced ones.

The regions are trained on the bundled digits at 28 pixels, or scattered by 0.06 around the middle
and of sizes that bring the MACs to the paper's ratio of 12.9 (table 2). They are relative, so the
networks for 56 pixels have the same. A speed-up is the plain network's time over the other's; share
is the speed-up over the ratio of MACs. Calls take turns in one process; medians.
"""

from collections.abc import Iterator

import keras
import numpy as np
import regions
import roofline
import tensorflow as tf

import keras_attention as ka
from keras_attention.inspect import alternated

PAPER_RATIO = 12.9
SHARED = (None, 4, 8)


def main() -> None:
    """Prints the trainings, then inference, training steps and thin networks."""
    found = {}
    for groups in SHARED:
        found[groups], line = regions.trained("TKN6", groups, "digits", rate=0.02)
        print(line + ".  ")
    thin, line = regions.trained("TDN10", None, "top_left_digits", rate=0.1)
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
    models, ratios = {"CNN6": plain}, {"CNN6": 1.0}
    for groups in SHARED:
        for kind in ("trained", "paper's MACs"):
            model = network(shape, groups, kind, found)
            name = f"compact, {regions.label(groups)}, {kind}"
            models[name] = ka.surgery.compact(model)
            ratios[name] = dense / ka.inspect.count_macs(model)
            if groups is None and size == 28:
                name = f"one convolution a kernel, {kind}"
                models[name], ratios[name] = (
                    one_by_one(model),
                    ratios[f"compact, a region a kernel, {kind}"],
                )
    for batch in (64, 1):
        images = tf.random.uniform((batch, *shape), seed=0)
        calls = {name: forward(model, images) for name, model in models.items()}
        times = alternated(calls, rounds=11 if batch > 1 else 101)
        print(f"Inference, {size} pixels, batch {batch}:\n")
        print("| network | MACs ratio | ms | speed-up | share |")
        print("| --- | --- | --- | --- | --- |")
        for name, seconds in times.items():
            speedup = times["CNN6"] / seconds
            print(
                f"| {name} | {ratios[name]:.2f} | {1e3 * seconds:.2f} | {speedup:.2f} | "
                f"{speedup / ratios[name]:.2f} |"
            )
        print()


def network(shape: tuple, groups: int | None, kind: str, found: dict, roi: str = "mask") -> object:
    """TKN6 with regions of a kind."""
    model = ka.applications.TKN6(shape, roi=roi, roi_groups=groups)
    if kind == "trained":
        regions.write(model, found[groups])
    elif kind == "paper's MACs":
        regions.scatter(model, PAPER_RATIO)
    return model


def one_by_one(model: keras.Model) -> object:
    """The authors' way: each kernel's region convolved alone, zero-padded and concatenated."""
    kernels = {layer.name: list(each_kernel(layer)) for layer in regions.target_layers(model)}

    def convolve(layer: keras.Layer, x: tf.Tensor) -> tf.Tensor:
        maps = []
        for kernel, window, (rows, columns) in kernels[layer.name]:
            patch = layer.activation(ka.ops.sliced_convolution(x, kernel, rows, columns))
            maps.append(ka.ops.place(patch * window, rows, columns, tuple(x.shape[1:3])))
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
    """A step of training at 28 pixels, batch 64: mask beside slice, regrouped."""
    shape = (28, 28, 1)
    images = tf.random.uniform((64, *shape), seed=0)
    calls = {"CNN6": step(ka.applications.CNN6(shape), images)}
    executed, kinds = {}, [("at first", None)]
    kinds += [(kind, groups) for kind in ("trained", "paper's MACs") for groups in SHARED]
    for kind, groups in kinds:
        for roi in ("mask", "slice"):
            model = network(shape, groups, kind, found, roi)
            for layer in regions.target_layers(model):
                layer.regroup()
            name = f"{roi}, {regions.label(groups)}, {kind}"
            calls[name] = step(model, images)
            executed[name] = ka.inspect.count_macs(model, executed=True)
    times = alternated(calls, rounds=9)
    print("Training step, 28 pixels, batch 64:\n")
    print("| TKN6 | MACs executed, forward | ms | / CNN6 | mask / slice |")
    print("| --- | --- | --- | --- | --- |")
    for name, macs in executed.items():
        masked = times[name.replace("slice", "mask")]
        gain = f"{masked / times[name]:.2f}" if name.startswith("slice") else ""
        print(
            f"| {name} | {macs / 1e6:.0f}M | {1e3 * times[name]:.0f} | "
            f"{times[name] / times['CNN6']:.2f} | {gain} |"
        )
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
            times = alternated(calls, rounds=51 if batch > 1 else 201)
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
