import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_attention.utils import validation

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(max_size=3),
    st.integers(max_value=0),
    st.lists(st.integers(-1, 0), max_size=4),
)


@given(junk)
def test_junk_is_refused_with_what_was_received(value):
    for check in (
        lambda: validation.positive_integer("argument", value),
        lambda: validation.positive_integers("argument", value, 2),
        lambda: validation.one_of("argument", value, ("first", "second")),
    ):
        with pytest.raises(ValueError, match="Received: argument="):
            check()


@given(st.integers(1, 1000))
def test_integers_of_every_kind(value):
    for kind in (int, np.int32, np.int64, np.uint16):
        assert validation.positive_integer("argument", kind(value)) == value
        assert validation.positive_integers("argument", kind(value), 3) == (value,) * 3
        assert validation.positive_integers("argument", [kind(value), 1], 2) == (value, 1)
    assert validation.positive_integers("argument", np.array([value, 1]), 2) == (value, 1)


@pytest.mark.parametrize("value", [-1, 2**31, 1.5, "1", None, True, np.array([1, 2])])
def test_seeds_fit_every_generator(value):
    assert validation.seed_number("seed", 2**31 - 1) == 2**31 - 1
    with pytest.raises(ValueError, match="Received: seed="):
        validation.seed_number("seed", value)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", None, True])
def test_numbers_must_be_finite_and_not_negative(value):
    with pytest.raises(ValueError, match="Received: argument="):
        validation.non_negative_number("argument", value)


def test_nearest_is_named_whatever_the_case():
    assert validation.did_you_mean("tkn6", ["TKN6", "CNN6"]) == " Did you mean 'TKN6'?"
    assert validation.did_you_mean("zzz", ["TKN6"]) == ""


def test_a_wrong_name_where_none_is_allowed():
    with pytest.raises(ValueError, match=r"one of None, 'first'.*Did you mean 'first'"):
        validation.one_of("argument", "firts", (None, "first"))


EXTREME_DILATION = """
import tensorflow as tf

kernel = tf.ones((3, 3, 3, 2))
convolve = lambda x: tf.nn.convolution(x, kernel, 1, "SAME", dilations=10**9)
tf.function(convolve, jit_compile=True)(tf.ones((1, 6, 5, 3)))
"""


@pytest.mark.slow
def test_extreme_dilation_ends_the_process():
    """Without `validate_dilation_rate` a layer would end the process instead of raising."""
    process = subprocess.run([sys.executable, "-c", EXTREME_DILATION], capture_output=True)
    assert process.returncode < 0, "ended by a signal"


def test_dilation_rate():
    validation.validate_dilation_rate((64, 12), (None, 6))
    with pytest.raises(ValueError, match=r"Received: dilation_rate=\(1, 65\)"):
        validation.validate_dilation_rate((1, 65), (6, 5))
