"""Every layer: arguments and data that nobody means."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import keras_attention as ka
from tests.fuzz.arguments import spoiled
from tests.fuzz.data import SIZES, array, arrays, is_finite
from tests.fuzz.hunt import hunt, tries
from tests.fuzz.values import values
from tests.fuzz.verdict import Refused, taken
from tests.layer_cases import LAYER_CASES

# Keras's own RNN around a cell answers what is no sequence.
FED = [case for case in LAYER_CASES if case.name != "RecurrentAttention"]
KINDS = {case.name: case for case in reversed(LAYER_CASES)}


def right_data(case):
    several = isinstance(case.input_shape, list)
    shapes = case.input_shape if several else [case.input_shape]
    made = [array(shape) for shape in shapes]
    return made if several else made[0]


def answered(layer, data):
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
    found = tape.gradient(mean, [*keras.tree.flatten(tensors), *weights])
    return outputs, [gradient for gradient in found if gradient is not None]


@tries
@pytest.mark.parametrize("name", KINDS)
def test_arguments(name, examples):
    case = KINDS[name]
    kind = getattr(ka.layers, name)

    def check(arguments):
        keras.config.set_image_data_format("channels_last")

        def made():
            layer = kind(**arguments)
            return case.wrap(layer) if case.wrap else layer

        layer = taken(made, arguments)
        if layer is not Refused:
            taken(lambda: answered(layer, right_data(case)), arguments)

    hunt(examples, check, arguments=spoiled(kind, case.options()))


@tries
@pytest.mark.parametrize("case", FED, ids=str)
def test_data(case, examples):
    shapes = case.input_shape if isinstance(case.input_shape, list) else [case.input_shape]
    each = st.tuples(*[arrays(shape) for shape in shapes])
    built = case.make()
    built(right_data(case))

    def check(inputs, fresh):
        layer = case.make() if fresh else built
        data = list(inputs) if isinstance(case.input_shape, list) else inputs[0]
        about = [(part.shape, part.dtype, part.max(initial=0)) for part in inputs]
        outputs = taken(lambda: answered(layer, data), about)
        if outputs is not Refused:
            assert all(map(is_finite, outputs)), about

    hunt(examples, check, inputs=each, fresh=st.booleans())


@tries
@pytest.mark.parametrize("case", FED, ids=str)
def test_gradients(case, examples):
    """Where an output is finite, so are its gradients, whatever the size of the inputs."""
    built = case.make()
    built(right_data(case))

    def check(size, constant):
        several = isinstance(case.input_shape, list)
        shapes = case.input_shape if several else [case.input_shape]
        parts = [np.full(shape, size, "float32") for shape in shapes]
        parts = parts if constant else [array(shape, "float32", size) for shape in shapes]
        outputs, gradients = gradients_of(built, parts if several else parts[0])
        assert all(map(is_finite, outputs)), (size, constant)
        assert all(map(is_finite, gradients)), (size, constant)

    hunt(examples, check, size=st.sampled_from(SIZES), constant=st.booleans())


@tries
@pytest.mark.parametrize("name", KINDS)
def test_something_else_than_data(name, examples):
    case = KINDS[name]
    layer = case.make()

    def check(data):
        taken(lambda: answered(layer, data), data)

    hunt(examples, check, data=values())
