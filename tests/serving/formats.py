"""Exports every model to every format and writes the table of supported formats.

python -m tests.serving.formats                 # writes docs/guides/formats.md
python -m tests.serving.formats TDN10 LSTM4     # prints the rows of these models
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from keras_attention.utils.io import write_atomically

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "formats.md"
BEGIN, END = "<!-- table of formats -->\n", "<!-- end of the table -->\n"
FORMATS = {"saved_model": "SavedModel", "onnx": "ONNX", "litert": "LiteRT", "int8": "LiteRT int8"}
DIED = "no: ended the process"
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


def cells(requested: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Computes cells in a new process; if that dies, the rest is computed in another one."""
    found: dict[tuple[str, str], str] = {}
    while rest := [key for key in requested if key not in found]:
        command = [sys.executable, "-m", "tests.serving.formats", "--child", json.dumps(rest)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith('["'):
                    name, kind, value = json.loads(line)
                    found[name, kind] = value
                    print(f"{name}, {kind}: {value}", file=sys.stderr, flush=True)
        missing = [key for key in rest if key not in found]
        if missing:
            found[missing[0]] = DIED
    return found


def table(found: dict[tuple[str, str], str]) -> str:
    """Formats the table as Markdown."""
    names = list(dict.fromkeys(name for name, _ in found))
    lines = [["model", *FORMATS.values()], ["---"] * (1 + len(FORMATS))]
    lines += [[f"`{name}`", *(found[name, kind] for kind in FORMATS)] for name in names]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def committed() -> dict[tuple[str, str], str]:
    """Reads the cells of the page."""
    text = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    return {
        (name.strip("`"), kind): value
        for name, *values in lines
        for kind, value in zip(FORMATS, values, strict=True)
    }


def main() -> None:
    """Writes the table of the page, or prints the rows of the named models."""
    if sys.argv[1:2] == ["--child"]:
        print_cells(json.loads(sys.argv[2]))
        return
    from tests.serving.format_cases import format_cases

    names = [case.name for case in format_cases()]
    if sys.argv[1:]:
        names = [name for name in names if name.split(",")[0] in sys.argv]
    text = table(cells([(name, kind) for name in names for kind in FORMATS]))
    if sys.argv[1:]:
        print(text)
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    page = before + BEGIN + text + END + rest.partition(END)[2]
    write_atomically(PAGE, lambda path: path.write_text(page, encoding="utf-8"))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
