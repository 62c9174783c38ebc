"""A small model of each mechanism with its training data, for one device and for several."""

import re
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

import keras_attention as ka
from tests import harness, model_cases
from tests.distillation import models

BATCH, STEPS, EPOCHS = 8, 2, 2
# Cells have names that Keras counts.
NUMBERED = re.compile(r"_\d+")
CASES = {str(case): case for case in model_cases.MODEL_CASES}


@dataclass(frozen=True)
class TrainingCase:
    """A model whose training is equal on all devices: without dropout, which each device draws.

    `case` names a row of `model_cases`; `rate` is so small that roundings do not grow. `normalizes`
    is False for batch normalization by its moving statistics.
    """

    case: str
    rate: float = 1e-3
    normalizes: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    regroups: bool = False

    def make(self):
        case = CASES[self.case]
        model = harness.without_dropout(case.make(**self.options, **case.unambiguous_choice))
        for layer in normalizations(model):
            layer.trainable = self.normalizes
        return model

    def data(self, count):
        rng = np.random.default_rng(0)
        case = CASES[self.case]
        x = rng.uniform(size=(count, *case.input_shape)).astype("float32")
        return x, rng.integers(0, case.num_classes[0], count)

    def callbacks(self):
        return [ka.training.RegroupROIs(min_gain=0.0)] if self.regroups else []


@dataclass(frozen=True)
class Distillation(TrainingCase):
    """A student with all kinds of distillation terms."""

    case: str = "AttentionDistiller"

    def make(self):
        networks = models.student_of(kernel_regularizer="l2"), models.teacher_of()
        return ka.training.AttentionDistiller(
            *networks, models.PAIRS, alpha=0.5, hints=["first"], gradient="min_l2", from_logits=True
        )

    def data(self, count):
        return models.batch(np.random.default_rng(0), count)


TRAINING_CASES = {
    "TDN10": TrainingCase("TDN10", options={"scale_l2": 1e-3}, regroups=True),
    "TKN6": TrainingCase("TKN6", options={"scale_l2": 1e-3}),
    **{name: TrainingCase(f"LeNet5-{name}") for name in ("san-c", "cbam", "bam")},
    "ran": TrainingCase("LSTM4-ran-full"),
    "WARN": TrainingCase("WARN-10-0.25-2"),
    "AttentionDistiller": Distillation(),
    # Replicas find a variance by the mean of squares: its layers multiply that rounding by 100.
    "DCN": TrainingCase("DCN-3", normalizes=False),
    "DCN, normalizing": TrainingCase("DCN-3"),
}


def normalizations(model):
    kind = keras.layers.BatchNormalization
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


def built(name):
    """The model, compiled, off its first values."""
    training_case = TRAINING_CASES[name]
    keras.utils.set_random_seed(0)
    model = training_case.make()
    harness.jitter(model)
    logits = isinstance(training_case, Distillation)
    model.compile(
        keras.optimizers.SGD(training_case.rate, momentum=0.9),
        models.TASK if logits else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    return model


def fit(name, model, count=BATCH * STEPS, share=(0, 1)):
    """Returns the history of `fit`; a process may train on its share of each batch only."""
    training_case, (part, parts) = TRAINING_CASES[name], share
    # The first of two processes has the first half of each batch, the second the other.
    x, y = (
        values.reshape(-1, parts, BATCH // parts, *values.shape[1:])[:, part].reshape(
            -1, *values.shape[1:]
        )
        if parts > 1
        else values
        for values in training_case.data(count)
    )
    fitted = model.fit(
        x,
        y,
        batch_size=BATCH // parts,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=training_case.callbacks(),
    )
    return fitted.history


def state(model):
    """Variables that training changes, by name: weights, statistics, counters, optimizer state."""
    variables = [*model.variables, *model.optimizer.variables]
    return {
        f"{index} {NUMBERED.sub('', variable.name)}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(variables)
        if "seed_generator" not in variable.path
    }


def assert_equal(found, expected):
    """Histories and states agree to 1e-5, relative to values above 1."""
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key, value in other.items():
            np.testing.assert_allclose(one[key], value, rtol=1e-5, atol=1e-5, err_msg=key)
