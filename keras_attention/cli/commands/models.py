"""The `models` command: lists the models of the package."""

from argparse import Namespace

from keras_attention import applications, inspect
from keras_attention.cli.commands import CommandResult


def run(options: Namespace) -> CommandResult:
    """Lists the parameters and MACs of models at their default input shape."""
    names = options.models or applications.list_models()
    models = {name: applications.build(name) for name in names}
    inputs = [str(model.input_shape[1:]) for model in models.values()]
    table = inspect.summary_table(models, columns={"input": inputs})
    rows = [
        {
            "model": name,
            "parameters": inspect.trainable_parameters(model),
            "macs": inspect.count_macs(model),
            "input_shape": model.input_shape[1:],
        }
        for name, model in models.items()
    ]
    return CommandResult({"models": rows}, [table])
