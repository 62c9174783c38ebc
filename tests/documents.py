"""Examples in the README and in the documentation, as they stand there."""

import re
from pathlib import Path

from keras_attention.training.layerwise_optimizer import HAS_MULTI_OPTIMIZER

ROOT = Path(__file__).parents[1]


def python_blocks(path):
    """The examples of a page that this Keras can run; blocks with titles are files."""
    blocks = re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.S | re.M)
    return [code for code in blocks if HAS_MULTI_OPTIMIZER or "LayerwiseOptimizer" not in code]


def titled_blocks(path):
    """Language, title and text of the blocks that are files, or lines to add to files."""
    pattern = r'^```(\w+) title="(.+?)"\n(.*?)^```$'
    return re.findall(pattern, path.read_text(encoding="utf-8"), re.S | re.M)


def run_block(code, path, namespace):
    """Runs an example; its errors name the page."""
    exec(compile(code, str(path), "exec"), namespace)
