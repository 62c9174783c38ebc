"""What integers are made from, and what they cost."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention import datasets
from keras_attention.cli import data, measures
from keras_attention.cli.run_config import DataConfig
from keras_attention.export.litert_file import LiteRTFile

# Training examples from which the ranges of activations are taken.
EXAMPLES = 200


def data_of(options: Namespace) -> DataConfig | None:
    """The data to take ranges from; None where nothing is quantized.

    Raises:
        ValueError: For another format, a .keras file without data, or data that nothing needs.
    """
    if options.quantize is None:
        if any((options.data, options.size, options.data_dir, options.data_options)):
            raise ValueError(
                "`--data`, `--size`, `--data-dir` and `--data-option` are for --quantize. "
                f"Received: --data={options.data}, --size={options.size}, without --quantize"
            )
        return None
    if options.format != "litert":
        raise ValueError(f"`--quantize` needs --format litert. Received: --format={options.format}")
    return data.data_of(options)


def ranges(model: keras.Model, config: DataConfig) -> np.ndarray:
    """Examples to train on, one batch of them."""
    examples = next(iter(data.load(config, "train", EXAMPLES)))[0].numpy()
    data.check_input(model, examples.shape[1:])
    return examples


def costs(model: keras.Model, path: Path, config: DataConfig) -> dict[str, Any]:
    """Test errors and bytes before and after; weights are four bytes each before."""
    test, info = data.load_test(config), datasets.find(config.data)
    before = measures.errors(model, test, info)[1]
    count, after = measures.errors(_AsModel(model, path), test, info)
    size = {"before": 4 * model.count_params(), "after": path.stat().st_size}
    errors = {name: {"before": before[name], "after": after[name]} for name in before}
    return {"examples": count, **errors, "bytes": size}


def said(found: dict[str, Any]) -> list[str]:
    """The costs as lines."""
    names = {**measures.HEADINGS, "bytes": "bytes"}
    return [
        f"{names[name]}: {each['before']:.6g} before, {each['after']:.6g} after"
        for name, each in found.items()
        if name in names
    ]


class _AsModel:
    """A file that is measured like the model it was made from."""

    def __init__(self, model: keras.Model, path: Path):
        self.outputs, self._file = model.outputs, LiteRTFile(path)

    def predict_on_batch(self, inputs: Any) -> Any:
        answers = self._file([np.asarray(inputs)])[: len(self.outputs)]
        return answers if len(answers) > 1 else answers[0]

    def predict(self, batches: Any, verbose: Any = None) -> np.ndarray:
        return np.concatenate([self.predict_on_batch(inputs) for inputs, _ in batches])
