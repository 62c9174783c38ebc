"""Every model: arguments that nobody means."""

import pytest

import keras_attention as ka
from tests import model_cases
from tests.fuzz.arguments import spoiled
from tests.fuzz.hunt import hunt, tries
from tests.fuzz.values import values
from tests.fuzz.verdict import taken

CASES = {case.name: case for case in reversed(model_cases.MODEL_CASES)}


@tries
@pytest.mark.parametrize("name", CASES)
def test_arguments(name, examples):
    case = CASES[name]

    def check(arguments):
        taken(lambda: case.make(**arguments), arguments)

    hunt(examples, check, arguments=spoiled(ka.applications.builder(name), {}))


@tries
def test_names(examples):
    def check(name):
        taken(lambda: ka.applications.build(name), name)

    hunt(examples, check, name=values())
