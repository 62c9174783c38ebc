"""What bytes in place of floats cost: LiteRT's int8, and Keras's own for dense layers.

Networks are trained on 1,437 bundled digits for five epochs (Adam, 1e-3, batch 50) and measured on
the other 360. "Keras" is `model.quantize("int8")`, which knows dense layers and embeddings;
"LiteRT" is `export_litert(..., quantize="int8")`, with ranges from 200 training images. Differences
are of probabilities, the largest on the test images. Bytes of Keras are those of all variables,
those of LiteRT the files'. The second table has the share of the weights that Keras quantizes, for
every application as it is built by default.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import keras_attention as ka
from keras_attention.export.litert import run_litert

KNOWN = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
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
        "| network | test error % | Keras | LiteRT | largest difference, Keras | LiteRT "
        f"| bytes, Keras | after | LiteRT | after |\n|{' --- |' * 10}"
    )
    for name, network in NETWORKS.items():
        print(row(name, *network), flush=True)
    print("\n| model | weights | in layers that Keras quantizes, % |\n| --- | --- | --- |")
    for name in ka.applications.list_models():
        print(share(name), flush=True)


def row(name: str, size: int, make: Make) -> str:
    """Trains a network and measures it three times."""
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
    answers = [plain, by_keras, by_litert]
    cells = [f"{100 * np.mean(each.argmax(-1) != labels):.2f}" for each in answers]
    cells += [f"{np.abs(each - plain).max():.3f}" for each in answers[1:]]
    cells += [f"{count:,}" for count in (*bytes_by_keras, *bytes_by_litert)]
    return f"| {' | '.join([name, *cells])} |"


def keras_int8(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """What a copy answers that Keras has quantized, exported and loaded; its bytes."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it names every layer that stays
        copy.quantize("int8")
    with tempfile.TemporaryDirectory() as folder:
        ka.export.export_saved_model(copy, f"{folder}/served")
    return copy.predict(images, verbose=0), [stored(model), stored(copy)]


def litert_int8(
    model: keras.Model, ranges: np.ndarray, images: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """What the file of int8 answers, and the bytes of that of floats and of itself."""
    with tempfile.TemporaryDirectory() as folder:
        plain = ka.export.export_litert(model, f"{folder}/plain.tflite")
        path = ka.export.export_litert(
            model, Path(folder) / "int8.tflite", quantize="int8", inputs=ranges
        )
        return run_litert(path, [images])[0], [file.stat().st_size for file in (plain, path)]


def stored(model: keras.Model) -> int:
    """Bytes of all variables."""
    sizes = {"float32": 4, "int8": 1}
    return sum(
        int(np.prod(weight.shape)) * sizes.get(keras.backend.standardize_dtype(weight.dtype), 4)
        for weight in model.weights
    )


def share(name: str) -> str:
    """How much of a model Keras quantizes, which are kernels and not biases."""
    keras.utils.clear_session()
    model = ka.applications.build(name)
    kernels = sum(
        int(np.prod(layer.weights[0].shape))
        for layer in model._flatten_layers()
        if isinstance(layer, KNOWN)
    )
    count = model.count_params()
    return f"| {name} | {count:,} | {100 * kernels / count:.1f} |"


if __name__ == "__main__":
    main()
