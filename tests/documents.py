"""Code blocks of README and documentation, and the table of layers in README.

`python -m tests.documents` writes the table of layers into README.md.
"""

import inspect
import re
from pathlib import Path

import keras_attention as ka
from keras_attention.training.layerwise_optimizer import HAS_MULTI_OPTIMIZER

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
LAYERS = re.compile(r"(<!-- layers -->\n).*(<!-- end of layers -->)", re.DOTALL)


def python_blocks(path):
    """Python code blocks of a page that this version of Keras can run, without titled blocks."""
    blocks = re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.S | re.M)
    return [code for code in blocks if HAS_MULTI_OPTIMIZER or "LayerwiseOptimizer" not in code]


def titled_blocks(path):
    """Language, title and text of the code blocks that have a title, the name of a file."""
    pattern = r'^```(\w+) title="(.+?)"\n(.*?)^```$'
    return re.findall(pattern, path.read_text(encoding="utf-8"), re.S | re.M)


def run_block(code, path, namespace):
    """Runs a code block; tracebacks name the page."""
    exec(compile(code, str(path), "exec"), namespace)


def layer_table():
    """Table of all public layers, from the first line of their docstrings and their references."""
    rows = ["| Layer | Description | Reference |", "| --- | --- | --- |"]
    for name in ka.layers.__all__:
        layer = getattr(ka.layers, name)
        file = Path(inspect.getfile(layer)).relative_to(ROOT).as_posix()
        docstring = inspect.getdoc(layer)
        description = docstring.splitlines()[0].replace("|", r"\|")
        references = re.findall(r"^References?:\n\s+(.+?\(\d{4}\))", docstring, re.M | re.S)
        reference = " ".join(references[0].split()) if references else ""
        rows.append(f"| [`{name}`]({file}) | {description} | {reference} |")
    return "\n".join(rows) + "\n"


def with_layer_table(text):
    """Replaces the table of layers in the text of README.md."""
    return LAYERS.sub(lambda match: match[1] + layer_table() + match[2], text)


if __name__ == "__main__":
    README.write_text(with_layer_table(README.read_text(encoding="utf-8")), encoding="utf-8")
