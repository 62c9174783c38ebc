"""What a target layer's modes cost beside a plain convolution: CNN6 and TKN6, 28 pixels, batch 64.

The regions are those at the start (the whole map), then small ones: centers scattered by 0.06
around the middle and scales that bring the MACs near the paper's ratio of 12.9 (table 2).
"""

import keras
import numpy as np
import tensorflow as tf
from timing import alternated

import keras_attention as ka

BATCH = 64
SMALL_SCALE = 0.117


def main() -> None:
    """Prints a line a model: MACs, those executed, milliseconds and the ratios to CNN6."""
    images = tf.constant(np.random.default_rng(0).uniform(size=(BATCH, 28, 28, 1)), "float32")
    models = {"CNN6": ka.applications.CNN6()}
    for regions in ("whole", "small"):
        for roi in ("full", "mask", "slice"):
            model = ka.applications.TKN6(roi=roi)
            if regions == "small":
                shrink(model)
            models[f"TKN6 {roi}, {regions} regions"] = model
    times = alternated({name: forward(model, images) for name, model in models.items()})
    steps = alternated({name: step(model, images) for name, model in models.items()}, rounds=7)
    print("| model | MACs | executed | forward ms | / CNN6 | training step ms | / CNN6 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, model in models.items():
        macs, executed = (
            ka.inspect.short_number(ka.inspect.count_macs(model, executed=executed))
            for executed in (False, True)
        )
        seconds = " | ".join(
            f"{1e3 * measured[name]:.0f} | {measured[name] / measured['CNN6']:.2f}"
            for measured in (times, steps)
        )
        print(f"| {name} | {macs} | {executed} | {seconds} |")


def shrink(model: object) -> None:
    """Gives every kernel a small region near the middle, as training does."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if hasattr(layer, "rois"):
            layer.center.assign(generator.normal(0.5, 0.06, layer.center.shape).clip(0, 1))
            small = np.full(layer.scale.shape, SMALL_SCALE, "float32")
            layer.scale.assign(layer.scale.constraint(small))  # 3 pixels at least, as in training


def forward(model: object, images: tf.Tensor) -> object:
    """A call that computes the model's outputs and waits for them."""
    compiled = tf.function(lambda x: model(x, training=False))
    return lambda: compiled(images).numpy()


def step(model: object, images: tf.Tensor) -> object:
    """A call that trains for one step, so gently that the regions stay."""
    model.compile(keras.optimizers.SGD(1e-9), "sparse_categorical_crossentropy")
    labels = tf.zeros(BATCH, tf.int64)
    return lambda: model.train_on_batch(images, labels)


if __name__ == "__main__":
    main()
