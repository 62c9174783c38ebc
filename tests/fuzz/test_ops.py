"""Every function of tensors: arguments and tensors that nobody means."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import strategies as st

import keras_attention as ka
from tests.fuzz.arguments import spoiled
from tests.fuzz.data import arrays
from tests.fuzz.hunt import hunt, tries
from tests.fuzz.op_cases import MISSING, OP_CASES
from tests.fuzz.verdict import Refused, taken

# Places that are data: what lies outside of a map cannot be known when a graph is made.
PLACES = {"bounds", "groups", "labels", "positions", "rectangles", "function", "top"}


def answered(function, arguments):
    found = keras.tree.flatten(function(**arguments))
    return [np.asarray(part) for part in found]


def products_are_finite(tensors):
    """Whether no two of them multiply to what their type does not hold."""
    tensors = list(tensors)
    sizes = [float(np.abs(tensor).max(initial=0)) for tensor in tensors]
    most = 1e3 if any(tensor.dtype == "float16" for tensor in tensors) else 1e36
    return np.prod([max(size, 1.0) for size in sizes]) < most


def test_every_function_is_here():
    assert not MISSING


@tries
@pytest.mark.parametrize("name", OP_CASES)
def test_arguments(name, examples):
    function = getattr(ka.ops, name)

    def check(arguments):
        taken(lambda: answered(function, arguments), arguments)

    assert set(OP_CASES[name]) <= set(inspect.signature(function).parameters)
    hunt(examples, check, arguments=spoiled(function, OP_CASES[name]))


@tries
@pytest.mark.parametrize("name", OP_CASES)
def test_tensors(name, examples):
    """Of every shape, kind and size; none gives NaN."""
    function, fine = getattr(ka.ops, name), OP_CASES[name]
    tensors = {
        argument: arrays(value.shape)
        for argument, value in fine.items()
        if isinstance(value, np.ndarray) and argument not in PLACES
    }

    def check(changed, some):
        arguments = {**fine, **{key: value for key, value in changed.items() if key in some}}
        about = {
            key: (value.shape, value.dtype, value.max(initial=0))
            for key, value in changed.items()
            if key in some
        }
        outputs = taken(lambda: answered(function, arguments), about)
        if outputs is not Refused and products_are_finite(changed[key] for key in some):
            assert not any(np.isnan(output).any() for output in outputs), about

    each = st.sets(st.sampled_from(sorted(tensors))) if tensors else st.just(set())
    hunt(examples, check, changed=st.fixed_dictionaries(tensors), some=each)
