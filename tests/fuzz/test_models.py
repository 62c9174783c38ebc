"""Fuzz tests of functions that create, change, inspect and export models."""

import contextlib

import keras
import pytest
from hypothesis import strategies as st

import keras_attention as ka
from tests.fuzz.arguments import corrupted
from tests.fuzz.examples import check_examples, few_or_many
from tests.fuzz.outcome import Refused, outcome
from tests.fuzz.values import values


def small_model(channels=4):
    images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(channels, 3, padding="same", name="conv1")(images)
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.MaxPooling2D()(x))
    x = keras.layers.Conv2D(channels, 3, padding="same", name="conv2")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax")(x))


FUNCTIONS = {
    "AttentionDistiller": (
        ka.training.AttentionDistiller,
        lambda: {"student": small_model(), "teacher": small_model(6), "pairs": ["conv1"]},
    ),
    "RegroupROIs": (ka.training.RegroupROIs, dict),
    "GradientAttention": (ka.training.GradientAttention, dict),
    "LayerwiseOptimizer": (
        ka.training.LayerwiseOptimizer,
        lambda: {"optimizer": keras.optimizers.SGD(), "factors": {"conv1": 2.0}},
    ),
    "add_attend_rectify": (
        ka.surgery.add_attend_rectify,
        lambda: {"model": small_model(), "layers": ["conv1"], "classes": 3},
    ),
    "add_attention": (
        ka.surgery.add_attention,
        lambda: {"model": small_model(), "name": "san-c"},
    ),
    "compact": (ka.surgery.compact, lambda: {"model": small_model()}),
    "fold_batch_normalization": (
        ka.surgery.fold_batch_normalization,
        lambda: {"model": small_model()},
    ),
    "to_targeted": (ka.surgery.to_targeted, lambda: {"model": small_model()}),
    "count_macs": (ka.inspect.count_macs, lambda: {"model": small_model()}),
    "has_attention": (ka.inspect.has_attention, lambda: {"model": small_model()}),
    "with_attention": (ka.inspect.with_attention, lambda: {"model": small_model()}),
    "short_number": (ka.inspect.short_number, lambda: {"value": 3.0}),
    "summary_table": (ka.inspect.summary_table, lambda: {"models": {"a": small_model()}}),
    "trainable_parameters": (ka.inspect.trainable_parameters, lambda: {"model": small_model()}),
    "load": (
        ka.datasets.load,
        lambda: {"name": "digits", "split": "test", "size": 8, "batch_size": 9},
    ),
}


EXPORTS = [getattr(ka.export, name) for name in ka.export.__all__]


@few_or_many
@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments(name, examples):
    function, arguments = FUNCTIONS[name]
    valid = arguments()

    def check(arguments):
        outcome(lambda: function(**arguments), arguments)

    check_examples(examples, check, arguments=corrupted(function, valid))


@few_or_many
@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.__name__)
def test_exports(export, examples, tmp_path):
    """The file exists and is not overwritten, so that nothing is exported here."""
    model, path = small_model(), tmp_path / "model.onnx"
    path.touch()
    argument = st.sampled_from(["model", "path", "inputs", "tolerance", "attention"])

    def check(name, value):
        arguments = {"model": None if name == "path" else model, "path": path, name: value}

        def run():
            with contextlib.suppress(FileExistsError):
                return export(**arguments)

        assert outcome(run, arguments) in (Refused, None)

    check_examples(examples, check, name=argument, value=values())
