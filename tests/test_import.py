import pytest

import keras_attention as ka


def test_lazy_modules_are_imported_on_first_use():
    assert ka.inspect.count_macs is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ka.nothing


def test_dir_lists_public_names_only():
    assert dir(ka) == sorted([*ka.__all__, "__version__"])
    assert dir(ka.layers) == sorted(ka.layers.__all__)
