"""Exports every model to every format and writes the table of supported formats.

python -m tests.serving.formats                 # writes docs/guides/formats.md
python -m tests.serving.formats TDN10 LSTM4     # prints the rows of these models
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

from tests.generated_table import GeneratedTable

FORMATS = {"saved_model": "SavedModel", "onnx": "ONNX", "litert": "LiteRT", "int8": "LiteRT int8"}
TABLE = GeneratedTable("table of formats", FORMATS, "tests.serving.formats")
# Replacements of error messages whose details depend on the machine.
SHORT_ERRORS = {
    "differ from the model's by": "too far from the model's outputs",
    "does not run": "the file does not run",
}


def cell(case, kind: str, folder: Path) -> str:
    """Exports a model; returns `"yes"`, or `"no"` with the error message."""
    import keras

    import keras_attention as ka
    from keras_attention.export import saved_model
    from tests.reloading import outputs_here

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    path = folder / f"model-{kind}"
    arguments = {"attention": case.maps, "overwrite": True}
    if kind == "int8":
        kind, arguments = "litert", {**arguments, "quantize": "int8", "inputs": case.examples()}
    elif "SVHN" in case.name:
        arguments["inputs"] = case.examples()[:2]
    here = mock.patch.object(saved_model, "outputs_in_new_process", outputs_here)
    try:
        with here:
            getattr(ka.export, f"export_{kind}")(case.make(), path, **arguments)
    except (RuntimeError, ValueError) as error:
        message = " ".join(str(error).split())
        short = (short for part, short in SHORT_ERRORS.items() if part in message)
        return f"no: {next(short, message[:200])}"
    return "yes"


def print_cells(requested: list[list[str]]) -> None:
    """Prints name, format and value of each requested cell when it is known."""
    from tests.serving.format_cases import format_cases

    cases = {case.name: case for case in format_cases()}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in requested:
            print(json.dumps([name, kind, cell(cases[name], kind, Path(folder))]), flush=True)


def main() -> None:
    """Writes the table of the page, or prints the rows of the named models."""
    if sys.argv[1:2] == ["--child"]:
        print_cells(json.loads(sys.argv[2]))
        return
    from tests.serving.format_cases import format_cases

    names = [case.name for case in format_cases()]
    if sys.argv[1:]:
        names = [name for name in names if name.split(",")[0] in sys.argv]
    cells = TABLE.compute([(name, kind) for name in names for kind in FORMATS])
    if sys.argv[1:]:
        print(TABLE.as_markdown(cells))
    else:
        TABLE.write(cells)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
