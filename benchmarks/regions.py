"""The regions that benchmarks compare: trained ones, and some of the paper's MACs.

python benchmarks/regions.py     # trains the networks anew and writes regions.npz, in minutes
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from keras_attention.utils.io import write_atomically

STORED = Path(__file__).with_name("regions.npz")
# Networks, shared regions a layer, data and first learning rates.
TRAININGS = (
    ("TKN6", None, "digits", 0.02),
    ("TKN6", 4, "digits", 0.02),
    ("TKN6", 8, "digits", 0.02),
    ("TDN10", None, "top_left_digits", 0.1),
)
Regions = dict[str, tuple[np.ndarray, np.ndarray]]

TRAIN_SIZE, BATCH, EPOCHS = 300, 50, 40
# Of the scales' L2 weight, the learning rate and the steps: the paper's 1e-4 * 0.1 * 9,375, halved
# as in applications/targeted_kernels.py.
L2_RATE_STEPS = 0.048


def main() -> None:
    """Trains all and writes their regions."""
    arrays: dict[str, np.ndarray] = {}
    for name, groups, data, rate in TRAININGS:
        found, line = trained(name, groups, data, rate)
        print(line, flush=True)
        key = f"{name}/{groups}"
        arrays[f"{key}/line"] = np.array(line)
        for layer, pair in found.items():
            arrays[f"{key}/{layer}/center"], arrays[f"{key}/{layer}/scale"] = pair
    write_atomically(STORED, lambda path: np.savez_compressed(path, **arrays))


def stored(name: str, groups: int | None) -> tuple[Regions, str]:
    """The regions that `main` wrote for a network, and the line about their training."""
    found: Regions = {}
    with np.load(STORED) as arrays:
        start = f"{name}/{groups}/"
        for key in arrays.files:
            if key.startswith(start) and key.endswith("/center"):
                layer = key.removeprefix(start).removesuffix("/center")
                found[layer] = (arrays[key], arrays[f"{start}{layer}/scale"])
        return found, str(arrays[f"{start}line"])


def trained(name: str, groups: int | None, data: str, rate: float) -> tuple[Regions, str]:
    """Trains on the bundled digits at 28 pixels; gives the regions and a line about the training.

    Args:
        name: A network with target layers.
        groups: Shared regions a layer, or None for one a kernel.
        data: Name of the data set.
        rate: First learning rate.
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
        f"{name}, {label(groups)}: trained on {data} ({TRAIN_SIZE} images, {EPOCHS} epochs, rate "
        f"{rate}, seed 0), test error {error:.2f} %, {ka.inspect.count_macs(model) / 1e6:.1f}M MACs"
    )
    return read(model), line


def label(groups: int | None) -> str:
    """How regions are shared, in words."""
    return "a region a kernel" if groups is None else f"{groups} shared regions"


def target_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers that have regions."""
    return [layer for layer in model.layers if hasattr(layer, "rois")]


def read(model: keras.Model) -> Regions:
    """Centers and scales by layer."""
    return {
        layer.name: tuple(keras.ops.convert_to_numpy(w) for w in (layer.center, layer.scale))
        for layer in target_layers(model)
    }


def write(model: keras.Model, regions: Regions) -> None:
    """Gives a network, of any size, the regions of another."""
    for layer in target_layers(model):
        center, scale = regions[layer.name]
        layer.center.assign(center)
        layer.scale.assign(scale)


def scatter(model: keras.Model, ratio: float) -> None:
    """Scatters a new network's centers by 0.06 and shrinks its scales to a ratio of MACs."""
    dense = ka.inspect.count_macs(model)  # whole regions
    generator = np.random.default_rng(0)
    for layer in target_layers(model):
        layer.center.assign(generator.normal(0.5, 0.06, layer.center.shape).clip(0, 1))
    low, high = 0.0, 1.0
    for _ in range(12):
        scale = (low + high) / 2
        for layer in target_layers(model):
            limited = layer.scale.constraint(tf.fill(layer.scale.shape, scale))
            layer.scale.assign(limited)  # 3 pixels at least, as in training
        if dense / ka.inspect.count_macs(model) > ratio:
            low = scale
        else:
            high = scale


if __name__ == "__main__":
    main()
