"""Lists the models."""

from argparse import Namespace

from keras_attention import applications, inspect
from keras_attention.cli.answer import Answer


def run(options: Namespace) -> Answer:
    """Lists the models, or those that are named, at the size that they have by default."""
    names = options.models or applications.list_models()
    built = {name: applications.build(name) for name in names}
    inputs = [str(model.input_shape[1:]) for model in built.values()]
    table = inspect.summary_table(built, columns={"input": inputs})
    facts = [
        {
            "model": name,
            "parameters": inspect.trainable_parameters(model),
            "macs": inspect.count_macs(model),
            "input_shape": model.input_shape[1:],
        }
        for name, model in built.items()
    ]
    return Answer({"models": facts}, [table])
