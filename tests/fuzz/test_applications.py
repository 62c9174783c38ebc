"""Fuzz tests of every model, with invalid arguments."""

import pytest

import keras_attention as ka
from tests import model_cases
from tests.fuzz.arguments import corrupted
from tests.fuzz.examples import check_examples, few_or_many
from tests.fuzz.outcome import outcome
from tests.fuzz.values import values

CASES = {case.name: case for case in reversed(model_cases.MODEL_CASES)}


@few_or_many
@pytest.mark.parametrize("name", CASES)
def test_arguments(name, examples):
    case = CASES[name]

    def check(arguments):
        outcome(lambda: case.make(**arguments), arguments)

    check_examples(examples, check, arguments=corrupted(ka.applications.builder(name), {}))


@few_or_many
def test_names(examples):
    def check(name):
        outcome(lambda: ka.applications.build(name), name)

    check_examples(examples, check, name=values())
