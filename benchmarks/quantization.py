"""Accuracy and size of int8 models: LiteRT compared with Keras's quantization of dense layers.

Networks are trained on 1,437 bundled digits for five epochs (Adam, 1e-3, batch 50) and tested on
the other 360. "Keras" is `model.quantize("int8")`, which supports dense layers and embeddings;
"LiteRT" is `export_litert(..., quantize="int8")` with value ranges from 200 training images.
Differences are the largest differences of probabilities on the test images. Sizes are those of all
variables for Keras and of the files for LiteRT. The second table has the share of weights that
Keras quantizes, for every application with its default options.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import keras_attention as ka
from keras_attention.export.litert import LiteRTFile

QUANTIZED_LAYERS = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
EPOCHS, BATCH, RANGES = 5, 50, 200
Make = Callable[[], keras.Model]
NETWORKS: dict[str, tuple[int, Make]] = {
    "LeNet5": (28, ka.applications.LeNet5),
    "LeNet5, cbam": (28, lambda: ka.applications.LeNet5(attention="cbam")),
    "TDN10, compacted": (14, lambda: ka.applications.TDN10((14, 14, 1), roi="mask")),
}


def main() -> None:
    """Prints both tables."""
    print(
        "| network | test error %, float32 | Keras int8 | LiteRT int8 | largest difference, Keras "
        "| LiteRT | Keras, bytes of float32 | int8 | LiteRT, bytes of float32 | int8 |\n"
        f"|{' --- |' * 10}"
    )
    for name, network in NETWORKS.items():
        print(row(name, *network), flush=True)
    print("\n| model | weights | in layers that Keras quantizes, % |\n| --- | --- | --- |")
    for name in ka.applications.list_models():
        print(quantized_share(name), flush=True)


def row(name: str, size: int, make: Make) -> str:
    """Trains a network and compares it with both int8 versions."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    train = ka.datasets.load("digits", "train", batch_size=BATCH, size=size)
    test = ka.datasets.load("digits", "test", batch_size=360, size=size)
    ranges = next(iter(train.unbatch().batch(RANGES)))[0].numpy()
    images, labels = (part.numpy() for part in next(iter(test)))
    model = make()
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.fit(train, epochs=EPOCHS, verbose=0)
    if "compacted" in name:
        model = ka.surgery.compact(model)
    plain = model.predict(images, verbose=0)
    by_keras, bytes_by_keras = keras_int8(model, images)
    by_litert, bytes_by_litert = litert_int8(model, ranges, images)
    outputs = [plain, by_keras, by_litert]
    cells = [f"{100 * np.mean(each.argmax(-1) != labels):.2f}" for each in outputs]
    cells += [f"{np.abs(each - plain).max():.3f}" for each in outputs[1:]]
    cells += [f"{count:,}" for count in (*bytes_by_keras, *bytes_by_litert)]
    return f"| {' | '.join([name, *cells])} |"


def keras_int8(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Returns the predictions of a copy quantized by Keras, and the bytes before and after."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about every layer that is not quantized
        copy.quantize("int8")
    with tempfile.TemporaryDirectory() as folder:
        ka.export.export_saved_model(copy, f"{folder}/served")
    return copy.predict(images, verbose=0), [variable_bytes(model), variable_bytes(copy)]


def litert_int8(
    model: keras.Model, ranges: np.ndarray, images: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """Returns the predictions of the int8 file, and the bytes of the float32 and int8 files."""
    with tempfile.TemporaryDirectory() as folder:
        plain = ka.export.export_litert(model, f"{folder}/plain.tflite")
        path = ka.export.export_litert(
            model, Path(folder) / "int8.tflite", quantize="int8", inputs=ranges
        )
        return LiteRTFile(path)([images])[0], [file.stat().st_size for file in (plain, path)]


def variable_bytes(model: keras.Model) -> int:
    """Returns the bytes of all variables."""
    sizes = {"float32": 4, "int8": 1}
    return sum(
        int(np.prod(weight.shape)) * sizes.get(keras.backend.standardize_dtype(weight.dtype), 4)
        for weight in model.weights
    )


def quantized_share(name: str) -> str:
    """Formats the share of weights that Keras quantizes: kernels without biases."""
    keras.utils.clear_session()
    model = ka.applications.build(name)
    kernels = sum(
        int(np.prod(layer.weights[0].shape))
        for layer in model._flatten_layers()
        if isinstance(layer, QUANTIZED_LAYERS)
    )
    count = model.count_params()
    return f"| {name} | {count:,} | {100 * kernels / count:.1f} |"


if __name__ == "__main__":
    main()
