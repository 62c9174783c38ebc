"""Reference values computed by the authors' code, if they are available."""

import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(
    os.environ.get("KERAS_ATTENTION_GOLDEN", Path(__file__).parents[1].parent / "shared" / "golden")
)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def golden(name):
    """Opens a file of reference values, or skips the test if there is none."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no golden numbers at {path}; set KERAS_ATTENTION_GOLDEN")
    return np.load(path)


def channels_last(array):
    """Transposes NCHW to NHWC, CHW to HWC, NCL to NLC."""
    return np.moveaxis(array, -3 if array.ndim > 2 else 0, -1)
