"""Fuzz tests of every layer, with invalid arguments and data."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import keras_attention as ka
from tests.fuzz.arguments import corrupted
from tests.fuzz.data import SIZES, array, arrays, is_finite
from tests.fuzz.examples import check_examples, few_or_many
from tests.fuzz.outcome import Refused, outcome
from tests.fuzz.values import values
from tests.layer_cases import LAYER_CASES

# Keras's RNN layer also accepts inputs that are not sequences.
DATA_CASES = [case for case in LAYER_CASES if case.name != "RecurrentAttention"]
CASES = {case.name: case for case in reversed(LAYER_CASES)}


def valid_data(case):
    is_list = isinstance(case.input_shape, list)
    shapes = case.input_shape if is_list else [case.input_shape]
    arrays = [array(shape) for shape in shapes]
    return arrays if is_list else arrays[0]


def outputs_of(layer, data):
    """Outputs as arrays."""
    return [np.asarray(part) for part in keras.tree.flatten(layer(data))]


def gradients_of(layer, data):
    """Outputs in training, and the gradients of their mean by the inputs and the weights."""
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, data)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = keras.tree.flatten(layer(tensors, training=True))
        mean = sum(keras.ops.mean(output) for output in outputs)
    weights = [weight.value for weight in layer.trainable_variables]
    gradients = tape.gradient(mean, [*keras.tree.flatten(tensors), *weights])
    return outputs, [gradient for gradient in gradients if gradient is not None]


@few_or_many
@pytest.mark.parametrize("name", CASES)
def test_arguments(name, examples):
    case = CASES[name]
    layer_class = getattr(ka.layers, name)

    def check(arguments):
        keras.config.set_image_data_format("channels_last")

        def create():
            layer = layer_class(**arguments)
            return case.wrap(layer) if case.wrap else layer

        layer = outcome(create, arguments)
        if layer is not Refused:
            outcome(lambda: outputs_of(layer, valid_data(case)), arguments)

    check_examples(examples, check, arguments=corrupted(layer_class, case.options()))


@few_or_many
@pytest.mark.parametrize("case", DATA_CASES, ids=str)
def test_data(case, examples):
    shapes = case.input_shape if isinstance(case.input_shape, list) else [case.input_shape]
    each = st.tuples(*[arrays(shape) for shape in shapes])
    built = case.make()
    built(valid_data(case))

    def check(inputs, fresh):
        layer = case.make() if fresh else built
        data = list(inputs) if isinstance(case.input_shape, list) else inputs[0]
        description = [(part.shape, part.dtype, part.max(initial=0)) for part in inputs]
        outputs = outcome(lambda: outputs_of(layer, data), description)
        if outputs is not Refused:
            assert all(map(is_finite, outputs)), description

    check_examples(examples, check, inputs=each, fresh=st.booleans())


@few_or_many
@pytest.mark.parametrize("case", DATA_CASES, ids=str)
def test_gradients(case, examples):
    """Outputs and gradients are finite for inputs of any magnitude."""
    built = case.make()
    built(valid_data(case))

    def check(size, constant):
        is_list = isinstance(case.input_shape, list)
        shapes = case.input_shape if is_list else [case.input_shape]
        parts = [np.full(shape, size, "float32") for shape in shapes]
        parts = parts if constant else [array(shape, "float32", size) for shape in shapes]
        outputs, gradients = gradients_of(built, parts if is_list else parts[0])
        assert all(map(is_finite, outputs)), (size, constant)
        assert all(map(is_finite, gradients)), (size, constant)

    check_examples(examples, check, size=st.sampled_from(SIZES), constant=st.booleans())


@few_or_many
@pytest.mark.parametrize("name", CASES)
def test_inputs_that_are_not_data(name, examples):
    case = CASES[name]
    layer = case.make()

    def check(data):
        outcome(lambda: outputs_of(layer, data), data)

    check_examples(examples, check, data=values())
