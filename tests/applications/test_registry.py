import pytest

import keras_attention as ka


def test_models_are_public_functions_of_their_name():
    for name in ka.applications.list_models():
        assert ka.applications.builder(name) is getattr(ka.applications, name)
        assert name in ka.applications.__all__


def test_unknown_model_names_the_nearest():
    with pytest.raises(ValueError, match=r"CNN6.*Received: name='TKN7'. Did you mean 'TKN6'"):
        ka.applications.build("TKN7")
