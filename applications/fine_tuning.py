"""Fine-tune a pre-trained MobileNetV2 with attention: first the new layers, then all layers.

    python applications/fine_tuning.py --data fashion_mnist --train-size 1000
    python applications/fine_tuning.py --attention none
    python applications/fine_tuning.py --data digits --weights none --side 32

The attention is inserted with `identity=True`, so the features are those of the pre-trained
network until it is trained; the program prints the difference. Images are resized, scaled to
[-1, 1] and repeated to three channels inside the model.
"""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from harness import options as cli
from harness.programs import export_model, run_program

import keras_attention as ka
from keras_attention.utils.io import write_atomically

OUTPUT = Path("runs/fine_tuning")
ATTENTION = ("none", "cbam", "bam", "san-c", "san-d")
Parts = tuple[Any, Any, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains in two stages, reports and saves the model; returns the exit code."""
    options = read_options(arguments)
    return run_program(options.output, lambda: prepare(options), lambda parts: run(options, parts))


def read_options(arguments: Sequence[str] | None = None) -> Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="fashion_mnist", choices=ka.datasets.list_datasets())
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="'imagenet', which is downloaded, a file of weights without top, or 'none' (imagenet)",
    )
    parser.add_argument("--attention", default="cbam", choices=ATTENTION)
    parser.add_argument("--placement", default="block", choices=("bottleneck", "full", "block"))
    cli.add_options(
        parser,
        side=(cli.positive_int, "side of the images in the network (160)"),
        train_size=(cli.positive_int, "training images (1000)"),
        test_size=(cli.positive_int, "test images (1000)"),
        batch_size=(cli.positive_int, "batch size (32)"),
        seed=(cli.seed, "seed (0)"),
    )
    two = {"nargs": 2, "metavar": ("NEW", "ALL")}
    parser.add_argument(
        "--epochs", type=cli.positive_int, help="epochs of the two stages (3 2)", **two
    )
    parser.add_argument(
        "--learning-rate", type=cli.positive_float, help="of the two stages (1e-3 1e-5)", **two
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"folder ({OUTPUT})")
    parser.set_defaults(side=160, train_size=1000, test_size=1000, batch_size=32, seed=0)
    parser.set_defaults(epochs=[3, 2], learning_rate=[1e-3, 1e-5])
    return parser.parse_args(arguments)


def prepare(options: Namespace) -> Parts:
    """Loads training and test images, and returns them with the number of classes."""
    info = ka.datasets.list_datasets()[options.data]
    if info.kind != "images" or not info.single_label:
        raise ValueError(
            f"`--data` must have images with one class each. Received: {options.data!r}"
        )
    load = ka.datasets.load
    train = load(
        options.data, "train", options.batch_size, options.seed, train_size=options.train_size
    )
    test = load(options.data, "test", None).take(options.test_size).batch(options.batch_size)
    return train, test, info.classes


def run(options: Namespace, parts: Parts) -> None:
    """Trains the new layers, then all layers, with the test accuracy after each stage."""
    train, test, classes = parts
    keras.utils.set_random_seed(options.seed)
    backbone = load_backbone(options.weights, options.side)
    features = backbone
    if options.attention != "none":
        features = ka.surgery.add_attention(
            backbone, options.attention, options.placement, identity=True, **_smoothing(options)
        )
    images = next(iter(test))[0]
    model = classifier(features, images.shape[1:], classes)
    _report_difference(backbone, features, network_images(images, options.side))
    stages = zip(("new layers", "all layers"), options.epochs, options.learning_rate, strict=True)
    for stage, epochs, learning_rate in stages:
        ka.surgery.freeze_backbone(model, frozen=stage == "new layers")
        _freeze_statistics(features)
        optimizer = keras.optimizers.Adam(learning_rate)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(train, epochs=epochs, shuffle=False, verbose=0)
        accuracy = 100 * model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
        weights = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        print(
            f"{stage}: {epochs} epochs of {options.train_size} images, {weights:,} weights "
            f"trained, test accuracy {accuracy:.1f} %",
            flush=True,
        )
    write_atomically(options.output / "model.keras", model.save)
    export_model(model, options.output, "model")


def load_backbone(weights: str, side: int) -> keras.Model:
    """Returns a MobileNetV2 without top whose images are in [-1, 1]."""
    source = {"imagenet": "imagenet"}.get(weights)
    model = keras.applications.MobileNetV2(
        input_shape=(side, side, 3), include_top=False, weights=source
    )
    if weights not in ("imagenet", "none"):
        model.load_weights(Path(weights).expanduser())
    return model


def classifier(features: keras.Model, shape: Any, classes: int) -> keras.Model:
    """Returns a model of images in [0, 1] with 1 or 3 channels."""
    inputs = keras.Input(tuple(shape))
    x = features(network_images(inputs, features.input_shape[1]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(keras.layers.Dropout(0.2)(x))
    return keras.Model(inputs, outputs, name="fine_tuned")


def network_images(images: Any, side: int) -> Any:
    """Resizes images, scales them to [-1, 1] and repeats a single channel."""
    x = keras.layers.Rescaling(2.0, offset=-1.0)(keras.layers.Resizing(side, side)(images))
    return keras.layers.Concatenate()([x] * 3) if x.shape[-1] == 1 else x


def _freeze_statistics(model: keras.Model) -> None:
    """Keeps the pre-trained batch normalization, whose statistics small batches would change."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _smoothing(options: Namespace) -> dict[str, str]:
    return {"smoothing": "depthwise"} if options.attention.startswith("san") else {}


def _report_difference(backbone: keras.Model, features: keras.Model, images: Any) -> None:
    expected = keras.ops.convert_to_numpy(backbone(images, training=False))
    found = keras.ops.convert_to_numpy(features(images, training=False))
    difference = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
    print(f"inserted attention changes the features by {difference:.1e} of the largest", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
