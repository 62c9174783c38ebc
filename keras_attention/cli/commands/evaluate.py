"""The `evaluate` command: measures the test error of a trained model."""

from argparse import Namespace
from typing import Any

from keras_attention import datasets, inspect
from keras_attention.cli import data, metrics, run_folder
from keras_attention.cli.commands import CommandResult
from keras_attention.utils.validation import positive_integer


def run(options: Namespace) -> CommandResult:
    """Measures the test error of a model, and reports its parameters and MACs."""
    config = data.data_config(options)
    if options.batch_size is not None:
        positive_integer("--batch-size", options.batch_size)
    model = run_folder.load_model(options.model)
    info = datasets.find(config.data)
    test = data.load_test(config, options.batch_size)
    shape = tuple(test.element_spec[0].shape[1:])
    data.validate_input(model, shape)
    any_size = None in shape
    if any_size:
        # MACs are counted for the size of the training examples.
        shape = tuple(info.shape_of("train"))
    count, errors = metrics.evaluate(model, test, info)
    values: dict[str, Any] = {
        "model": model.name,
        "data": config.data,
        "examples": count,
        **errors,
        "parameters": inspect.trainable_parameters(model),
        "macs": inspect.count_macs(model, shape),
        "macs_input_shape": shape,
    }
    columns: dict[str, Any] = {f"test {info.kind}": [count]}
    columns |= {metrics.TITLES[name]: [error] for name, error in errors.items()}
    title = config.data
    if config.size is not None:
        title += f", {config.size} {'pixels' if info.kind == 'images' else 'steps'}"
    if any_size:
        title += f", MACs for {' x '.join(map(str, shape))}"
    table = inspect.summary_table({model.name: model}, shape, columns, title=title)
    return CommandResult(values, [table])
