"""Fuzz tests of every public function in `ka.ops`, with invalid arguments and tensors."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import strategies as st

import keras_attention as ka
from tests.fuzz.arguments import corrupted
from tests.fuzz.data import arrays
from tests.fuzz.examples import check_examples, few_or_many
from tests.fuzz.op_cases import MISSING, OP_CASES
from tests.fuzz.outcome import Refused, outcome

# Arguments whose values are indices, which cannot be validated when a graph is traced.
INDICES = {"bounds", "groups", "labels", "positions", "rectangles", "function", "top"}


def outputs_of(function, arguments):
    return [np.asarray(part) for part in keras.tree.flatten(function(**arguments))]


def products_are_finite(tensors):
    """Returns True if the product of the largest values is finite in their dtypes."""
    tensors = list(tensors)
    sizes = [float(np.abs(tensor).max(initial=0)) for tensor in tensors]
    largest = 1e3 if any(tensor.dtype == "float16" for tensor in tensors) else 1e36
    return np.prod([max(size, 1.0) for size in sizes]) < largest


def test_every_function_has_a_case():
    assert not MISSING


@few_or_many
@pytest.mark.parametrize("name", OP_CASES)
def test_arguments(name, examples):
    function = getattr(ka.ops, name)

    def check(arguments):
        outcome(lambda: outputs_of(function, arguments), arguments)

    assert set(OP_CASES[name]) <= set(inspect.signature(function).parameters)
    check_examples(examples, check, arguments=corrupted(function, OP_CASES[name], large=True))


@few_or_many
@pytest.mark.parametrize("name", OP_CASES)
def test_tensors(name, examples):
    """Tensors of all shapes, dtypes and magnitudes; outputs are never NaN."""
    function, valid = getattr(ka.ops, name), OP_CASES[name]
    tensors = {
        argument: arrays(value.shape)
        for argument, value in valid.items()
        if isinstance(value, np.ndarray) and argument not in INDICES
    }

    def check(changed, names):
        arguments = {**valid, **{key: value for key, value in changed.items() if key in names}}
        description = {
            key: (value.shape, value.dtype, value.max(initial=0))
            for key, value in changed.items()
            if key in names
        }
        outputs = outcome(lambda: outputs_of(function, arguments), description)
        if outputs is not Refused and products_are_finite(changed[key] for key in names):
            assert not any(np.isnan(output).any() for output in outputs), description

    names = st.sets(st.sampled_from(sorted(tensors))) if tensors else st.just(set())
    check_examples(examples, check, changed=st.fixed_dictionaries(tensors), names=names)
