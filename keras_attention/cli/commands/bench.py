"""Times models on this machine, one beside the other."""

from argparse import Namespace
from typing import Any

import keras

from keras_attention import backend, inspect
from keras_attention.cli import stopwatch
from keras_attention.cli.answer import Answer
from keras_attention.cli.compacting import compacted
from keras_attention.cli.subjects import Shape, subjects
from keras_attention.utils.validation import positive_integer


def run(options: Namespace) -> Answer:
    """Times answers and training steps of models that take turns, medians, and their ratios."""
    for size in options.batch_size:
        positive_integer("--batch-size", size)
    positive_integer("--rounds", options.rounds)
    models, shape = subjects(options.models, options.data, options.size)
    # What is made for inference does not train.
    training = not (options.no_training or options.compact)
    if options.compact:
        models = {name: compacted(model) for name, model in models.items()}
    times = {
        f"batch of {size}": stopwatch.of_answers(models, shape, size, options.rounds)
        for size in sorted(set(options.batch_size))
    }
    if training:
        size = max(options.batch_size)
        of_steps = stopwatch.of_steps(models, shape, size, options.rounds)
        times[f"training step of {size}"] = of_steps
    return _answer(models, shape, times)


def _answer(
    models: dict[str, keras.Model], shape: Shape, times: dict[str, dict[str, float]]
) -> Answer:
    """Milliseconds, and for several models how many times as long as the last."""
    last = list(models)[-1]
    facts: dict[str, Any] = {
        "backend": backend.BACKEND,
        "devices": backend.accelerators() or ["cpu"],
        "input_shape": shape,
        "compared_with": last,
        "models": [
            {
                "model": name,
                "parameters": inspect.trainable_parameters(model),
                "macs": inspect.count_macs(model, shape),
                "milliseconds": {what: 1e3 * found[name] for what, found in times.items()},
                "ratio": {what: found[name] / found[last] for what, found in times.items()},
            }
            for name, model in models.items()
        ],
    }
    columns = {
        f"{what}, ms": [_cell(found[name], found[last], name != last) for name in models]
        for what, found in times.items()
    }
    beside = f"; x: times as long as {last}" if len(models) > 1 else ""
    title = f"{' x '.join(map(str, shape))}, medians on {', '.join(facts['devices'])}{beside}"
    return Answer(facts, [inspect.summary_table(models, shape, columns, title=title)])


def _cell(seconds: float, of_last: float, compared: bool) -> str:
    ratio = f", {seconds / of_last:.2f} x" if compared else ""
    return f"{1e3 * seconds:.3g}{ratio}"
