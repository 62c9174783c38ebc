"""Measures a trained model on the test part of its data, or of others."""

from argparse import Namespace
from typing import Any

from keras_attention import datasets, inspect
from keras_attention.cli import data, measures, run_folder
from keras_attention.cli.answer import Answer
from keras_attention.utils.validation import positive_integer


def run(options: Namespace) -> Answer:
    """Measures the error on the test images, with the size of the model beside it."""
    config = data.data_of(options)
    if options.batch_size is not None:
        positive_integer("--batch-size", options.batch_size)
    model = run_folder.load_model(options.model)
    info = datasets.find(config.data)
    test = data.load_test(config, options.batch_size)
    shape = tuple(test.element_spec[0].shape[1:])
    data.check_input(model, shape)
    any_size = None in shape
    if any_size:
        # MACs are counted at the size to train on.
        shape = tuple(info.shape_of("train"))
    count, errors = measures.errors(model, test, info)
    macs: Any = inspect.count_macs(model, shape)
    facts: dict[str, Any] = {
        "model": model.name,
        "data": config.data,
        "examples": count,
        **errors,
        "parameters": inspect.trainable_parameters(model),
        "macs": macs,
        "macs_at": shape,
    }
    columns: dict[str, Any] = {f"test {info.kind}": [count]}
    columns |= {measures.HEADINGS[name]: [error] for name, error in errors.items()}
    title = f"{config.data}{_size(config.size, info.kind)}"
    title += f", MACs at {' x '.join(map(str, shape))}" if any_size else ""
    table = inspect.summary_table({model.name: model}, shape, columns, title=title)
    return Answer(facts, [table])


def _size(size: int | None, kind: str) -> str:
    return "" if size is None else f", {size} {'pixels' if kind == 'images' else 'steps'}"
