"""What is fitted, and to which loss, for a model that is to be served."""

from typing import Any

import keras

from keras_attention.cli.run_config import RunConfig
from keras_attention.layers import AttendRectifyHead
from keras_attention.losses import NegativeLogLikelihood


def learner(model: keras.Model, regression: bool) -> tuple[keras.Model, Any]:
    """A model of the same weights to fit, and its loss.

    Probabilities of classes are learned by their cross-entropy, those of several answers by its
    sum, numbers by their mean squared error. Where a head's sum of logarithms is made
    probabilities, that sum is what is learned, as it stands (Rodriguez et al., Attend and Rectify,
    2018).

    Args:
        model: Any built model.
        regression: Whether it estimates numbers.
    """
    if regression:
        return model, "mean_squared_error"
    logarithms = _sum_of_logarithms(model)
    if logarithms is None:
        return model, "sparse_categorical_crossentropy"
    return keras.Model(model.input, logarithms, name=model.name), NegativeLogLikelihood()


def compile_for_training(
    model: keras.Model, loss: Any, config: RunConfig, steps: int, regression: bool
) -> None:
    """Compiles with the optimizer and the schedule of a run.

    Args:
        model: What is fitted.
        loss: Of its answer, or of each of them.
        config: Says how to learn.
        steps: Of an epoch.
        regression: Whether it estimates numbers.
    """
    metric = "mean_absolute_error" if regression else "accuracy"
    several = len(model.outputs) > 1
    metrics = [[metric] for _ in model.outputs] if several else [metric]
    model.compile(optimizer_of(config, steps * config.epochs), loss, metrics=metrics)


def optimizer_of(config: RunConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a run of so many steps."""
    rate = _schedule(config.schedule, config.learning_rate, steps)
    if config.optimizer == "sgd":
        momentum = config.momentum or 0.0
        return keras.optimizers.SGD(rate, momentum=momentum, nesterov=momentum > 0)
    kinds = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
    return getattr(keras.optimizers, kinds[config.optimizer])(rate)


def _schedule(name: str, rate: float, steps: int) -> Any:
    schedules = keras.optimizers.schedules
    if name == "constant":
        return rate
    if name == "cosine":
        return schedules.CosineDecay(rate, max(1, steps))
    # Section 4.2 of Targeted Kernel Networks has these two drops.
    drops = [steps // 2, steps * 3 // 4]
    return schedules.PiecewiseConstantDecay(drops, [rate, rate / 10, rate / 100])


def _sum_of_logarithms(model: keras.Model) -> Any:
    """What the model's only head returns, where the last layer makes it probabilities, or None."""
    heads = [layer for layer in model.layers if isinstance(layer, AttendRectifyHead)]
    last = model.layers[-1]
    if len(heads) == 1 and heads[0].space == "log" and isinstance(last, keras.layers.Activation):
        return last.input if last.input is heads[0].output else None
    return None
