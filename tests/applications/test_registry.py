import inspect
import re

import pytest

import keras_attention as ka


def test_models_are_public_functions_of_their_name():
    for name in ka.applications.list_models():
        assert ka.applications.builder(name) is getattr(ka.applications, name)
        assert name in ka.applications.__all__


def test_unknown_model_names_the_nearest():
    with pytest.raises(ValueError, match=r"CNN6.*Received: name='TKN7'. Did you mean 'TKN6'"):
        ka.applications.build("TKN7")


def test_docstrings_describe_every_argument():
    for name in ka.applications.list_models():
        builder = ka.applications.builder(name)
        described = re.findall(r"^    (\w+): ", inspect.cleandoc(builder.__doc__), re.MULTILINE)
        assert set(inspect.signature(builder).parameters) <= set(described), name
