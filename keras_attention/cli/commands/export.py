"""The `export` command: writes a model for serving and verifies what was written."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention import datasets, inspect
from keras_attention import export as exporters
from keras_attention.cli import data, metrics, run_folder
from keras_attention.cli.commands import CommandResult
from keras_attention.cli.config import DataConfig
from keras_attention.export.litert import LiteRTFile

DEFAULT_NAMES = {"saved_model": "saved_model", "onnx": "model.onnx", "litert": "model.tflite"}
# Number of training examples from which the ranges of int8 activations are calibrated.
CALIBRATION_EXAMPLES = 200


def run(options: Namespace) -> CommandResult:
    """Exports the model of a run, or of a .keras file."""
    config = _quantization_data(options)
    model = run_folder.load_model(options.model)
    if options.compact:
        model = run_folder.compact_model(model)
    default = run_folder.output_folder(options.model) / DEFAULT_NAMES[options.format]
    export = getattr(exporters, f"export_{options.format}")
    arguments = _export_arguments(options, model, config)
    try:
        path = export(model, options.output or default, **arguments)
    except (ImportError, RuntimeError, FileExistsError) as error:
        raise ValueError(str(error).replace("overwrite=True", "--overwrite")) from error
    values = {"export": path, "format": options.format, "attention": options.attention}
    values["compact"] = options.compact
    lines = [f"wrote {path}"]
    if config is not None:
        exported = _LiteRTModel(model, path, options.attention)
        effect = _quantization_effect(model, exported, config)
        values |= {"quantize": options.quantize, **effect}
        titles = {**metrics.TITLES, "bytes": "bytes"}
        lines += [
            f"{titles[name]}: {each['before']:.6g} before, {each['after']:.6g} after"
            for name, each in effect.items()
            if name in titles
        ]
    return CommandResult(values, lines)


def _quantization_data(options: Namespace) -> DataConfig | None:
    """Returns the data for calibration and evaluation, None without `--quantize`."""
    if options.quantize is None:
        if any((options.data, options.size, options.data_dir, options.data_options)):
            raise ValueError(
                "`--data`, `--size`, `--data-dir` and `--data-option` require --quantize. "
                f"Received: --data={options.data}, --size={options.size}, without --quantize"
            )
        return None
    if options.format != "litert":
        raise ValueError(
            f"`--quantize` requires --format litert. Received: --format={options.format}"
        )
    return data.data_config(options)


def _export_arguments(
    options: Namespace, model: keras.Model, config: DataConfig | None
) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        name: getattr(options, name) for name in ("overwrite", "attention", "image_range")
    }
    if config is not None:
        examples = next(iter(data.load(config, "train", CALIBRATION_EXAMPLES)))[0].numpy()
        data.validate_input(model, examples.shape[1:])
        arguments |= {"quantize": options.quantize, "inputs": examples}
    if options.no_image_bytes:
        if options.format != "saved_model":
            raise ValueError(
                "`--no-image-bytes` requires --format saved_model; other formats do not have that "
                f"endpoint. Received: --format={options.format}"
            )
        arguments |= {"image_bytes": False}
    return arguments


def _quantization_effect(
    model: keras.Model, exported: "_LiteRTModel", config: DataConfig
) -> dict[str, Any]:
    """Measures test errors and sizes in bytes before and after quantization."""
    test, info = data.load_test(config), datasets.find(config.data)
    before = metrics.evaluate(model, test, info)[1]
    count, after = metrics.evaluate(exported, test, info)
    errors = {name: {"before": before[name], "after": after[name]} for name in before}
    # Weights before quantization are float32.
    size = {"before": 4 * model.count_params(), "after": exported.path.stat().st_size}
    return {"examples": count, **errors, "bytes": size}


class _LiteRTModel:
    """LiteRT file with the prediction methods of the Keras model from which it was exported."""

    def __init__(self, model: keras.Model, path: Path, attention: bool):
        self.outputs, self.path, self._file = model.outputs, path, LiteRTFile(path)
        self._indices = list(range(len(model.outputs)))
        if attention:
            # The file's outputs are sorted by name; the model's own come first in the dictionary.
            names = list(inspect.with_attention(model).output)
            self._indices = [sorted(names).index(name) for name in names[: len(model.outputs)]]

    def predict_on_batch(self, inputs: Any) -> Any:
        outputs = self._file([np.asarray(inputs)])
        own = [outputs[index] for index in self._indices]
        return own if len(own) > 1 else own[0]

    def predict(self, batches: Any, verbose: Any = None) -> np.ndarray:
        return np.concatenate([self.predict_on_batch(inputs) for inputs, _ in batches])
