import pytest

import keras_attention as ka


def test_rooms_load_on_first_use():
    assert ka.inspect.count_macs is not None
    assert {"datasets", "export", "inspect"} <= set(dir(ka))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ka.nothing
