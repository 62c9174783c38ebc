import json
import subprocess
import sys

import pytest

import keras_attention as ka

MEASURE = """
import json, sys, time
import keras
known = set(sys.modules)
start = time.perf_counter()
import keras_attention
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted(set(sys.modules) - known)]))
"""


def test_import_is_light():
    result = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=100
    )
    seconds, modules = json.loads(result.stdout)
    heavy = {"matplotlib", "sklearn", "scipy", "PIL", "tensorflow_datasets", "rich", "hypothesis"}
    assert not heavy & {name.split(".")[0] for name in modules}
    assert seconds < 0.3


def test_rooms_load_on_first_use():
    assert ka.inspect.count_macs is not None
    assert {"datasets", "export", "inspect"} <= set(dir(ka))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ka.nothing
