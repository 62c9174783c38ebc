"""Applies every surgery to models of users, and writes the table of what works.

python -m tests.user_models.matrix                   # writes the table of docs/guides/formats.md
python -m tests.user_models.matrix VGG16 U-Net       # replaces the rows of these models
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np

import keras_attention as ka
from keras_attention.export import saved_model
from tests.generated_table import GeneratedTable
from tests.reloading import outputs_here
from tests.user_models.models import CLASSES, UserModel, user_models

Change = Callable[[keras.Model], keras.Model]

SURGERIES = {
    "bottleneck": "`add_attention` before reductions",
    "full": "after all convolutions",
    "block": "per residual block",
    "targeted": "`to_targeted`",
    "rectify": "`add_attend_rectify`",
    "distillation": "`AttentionDistiller`",
    "compact": "`compact`",
}
CHANGES: dict[str, Change] = {
    "bottleneck": lambda model: ka.surgery.add_attention(model, "cbam", identity=True),
    "full": lambda model: ka.surgery.add_attention(
        model, "san-c", "full", identity=True, smoothing="depthwise"
    ),
    "block": lambda model: ka.surgery.add_attention(model, "bam", "block", identity=True),
    "targeted": lambda model: ka.surgery.to_targeted(model, identity=True),
    "rectify": lambda model: ka.surgery.add_attend_rectify(model, 1, classes=CLASSES),
    "compact": lambda model: ka.surgery.compact(ka.surgery.to_targeted(model)),
}
# Models that compute the same as another one, and that one.
REFERENCES: dict[str, Change] = {
    **dict.fromkeys(("bottleneck", "full", "block", "targeted"), lambda model: model),
    "compact": ka.surgery.to_targeted,
}
TABLE = GeneratedTable("table of surgeries", SURGERIES, "tests.user_models.matrix")
RELATIVE_TOLERANCE = 1e-5
# A process that knows keras_attention alone loads the models in the folders that it reads.
READER = """
import sys
import keras
import numpy as np
import keras_attention

for line in sys.stdin:
    folder = line.strip()
    try:
        model = keras.saving.load_model(f"{folder}/model.keras")
        with np.load(f"{folder}/inputs.npz") as arrays:
            inputs = [arrays[name] for name in arrays.files]
        outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        np.save(f"{folder}/outputs.npy", keras.ops.convert_to_numpy(outputs))
        print("loaded", flush=True)
    except Exception as error:
        print(type(error).__name__, str(error).replace(chr(10), " "), flush=True)
"""


def cell(row: UserModel, surgery: str, folder: Path) -> str:
    """Changes a model and checks the new one.

    Exports and XLA are checked on the first stages of the networks of keras.applications.

    Returns:
        `"yes"`, `"no: message"` if the model is refused, or `"yes, but check: message; ..."`.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = row.make()
    data = row.data(model)
    change = _distilled if surgery == "distillation" else CHANGES[surgery]
    try:
        changed, small = change(model), change(row.small())
    except ValueError as error:
        return f"no: {_short(error)}"
    checks = {}
    if surgery != "distillation":  # the student is not changed
        checks = {
            "outputs": lambda: _check_reference(surgery, model, changed, data[0]),
            "file": lambda: _check_file(changed, data[0], folder),
            "SavedModel": lambda: _export("saved_model", small, data[0], folder),
            "ONNX": lambda: _export("onnx", small, data[0], folder),
            "LiteRT": lambda: _export("litert", small, data[0], folder),
        }
    checks |= {
        "fit": lambda: _check_fit(changed, *data, jit_compile=False),
        "fit with XLA": lambda: _check_fit(small, *data, jit_compile=True),
    }
    failures = {name: _failure(check) for name, check in checks.items()}
    failed = [f"{name}: {message}" for name, message in failures.items() if message]
    return f"yes, but {'; '.join(failed)}" if failed else "yes"


def _distilled(student: keras.Model) -> keras.Model:
    """Distills a model from a copy of it, by the map before its last reduction."""
    teacher = keras.models.clone_model(student)
    pairs = [(last_map(student), last_map(teacher))]
    return ka.training.AttentionDistiller(student, teacher, pairs, alpha=0.5)


def last_map(model: keras.Model, path: str = "") -> str:
    """Returns the path of the last convolution or normalization of a feature map."""
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            return last_map(layer, f"{path}{layer.name}/")
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.Conv2D):
            return path + layer.name
    raise ValueError(f"`model` must have a feature map. Received: model={model.name!r}")


def _check_reference(surgery: str, model: keras.Model, changed: keras.Model, inputs: Any) -> None:
    if surgery in REFERENCES:
        expected = REFERENCES[surgery](model)(inputs, training=False)
        _check_close(changed(inputs, training=False), expected)


def _check_file(model: keras.Model, inputs: Any, folder: Path) -> None:
    """Loads the model in another process."""
    model.save(folder / "model.keras")
    np.savez(folder / "inputs.npz", *keras.tree.flatten(inputs))
    reader = _reader()
    reader.stdin.write(f"{folder}\n")
    reader.stdin.flush()
    line = reader.stdout.readline().strip()
    assert line == "loaded", line
    _check_close(np.load(folder / "outputs.npy"), model(inputs, training=False))


@functools.cache
def _reader() -> Any:
    command = [sys.executable, "-W", "ignore", "-c", READER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _export(kind: str, model: keras.Model, inputs: Any, folder: Path) -> None:
    with mock.patch.object(saved_model, "outputs_in_new_process", outputs_here):
        export = getattr(ka.export, f"export_{kind}")
        export(model, folder / f"model-{kind}", inputs=inputs, overwrite=True)


def _check_fit(model: keras.Model, inputs: Any, labels: Any, jit_compile: bool) -> None:
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(1e-4), loss, jit_compile=jit_compile)
    history = model.fit(inputs, labels, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all(), "the loss is not finite"


def _check_close(outputs: Any, expected: Any) -> None:
    outputs, expected = (keras.ops.convert_to_numpy(each) for each in (outputs, expected))
    assert np.isfinite(expected).all(), "outputs are not finite"
    difference = np.max(np.abs(outputs - expected)) / np.max(np.abs(expected))
    assert difference <= RELATIVE_TOLERANCE, f"differ by {difference:.1e} of the largest output"


def _failure(check: Callable[[], None]) -> str:
    """Returns the message of a check that fails, or an empty string."""
    try:
        check()
    except Exception as error:  # any failure belongs in the table
        return _short(error)
    return ""


def _short(error: Exception) -> str:
    message = " ".join(str(error).split()).replace("|", "/")
    kind = "" if isinstance(error, (ValueError, AssertionError)) else f"{type(error).__name__}: "
    return kind + message.partition(" Received:")[0][:160]


def print_cells(requested: list[list[str]]) -> None:
    """Prints model, surgery and value of each requested cell when it is known."""
    rows = user_models()
    for name, surgery in requested:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps([name, surgery, cell(rows[name], surgery, Path(folder))]), flush=True)


def main() -> None:
    """Writes the rows of all models, or of the named ones."""
    if sys.argv[1:2] == ["--child"]:
        print_cells(json.loads(sys.argv[2]))
        return
    for name in sys.argv[1:] or user_models():
        cells = TABLE.compute([(name, surgery) for surgery in SURGERIES])
        found = TABLE.committed() | cells  # rows that another process has written meanwhile, too
        keys = [(row, surgery) for row in user_models() for surgery in SURGERIES]
        TABLE.write({key: found[key] for key in keys if key in found})


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster
    main()
