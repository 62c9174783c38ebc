"""Exports every model to every format and writes the table of what works.

python -m tests.serving.formats                 # writes docs/guides/formats.md
python -m tests.serving.formats TDN10 LSTM4     # prints the rows of these
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from keras_attention.utils.io import write_whole

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "formats.md"
BEGIN, END = "<!-- table of formats -->\n", "<!-- end of the table -->\n"
FORMATS = {"saved_model": "SavedModel", "onnx": "ONNX", "litert": "LiteRT", "int8": "LiteRT int8"}
DIED = "no: ended the process"
# By how much, and at which node, is another on every machine.
SHORT = {
    "differ from the model's by": "too far from the model's outputs",
    "does not run": "the file does not run",
}


def cell(row, kind: str, folder: Path) -> str:
    """Exports a row's model: `"yes"`, or `"no"` and what the error says."""
    import keras

    import keras_attention as ka
    from keras_attention.export import saved_model
    from tests.reloading import outputs_here

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    path, given = folder / f"model-{kind}", {"attention": row.maps, "overwrite": True}
    if kind == "int8":
        kind, given = "litert", {**given, "quantize": "int8", "inputs": row.examples()}
    elif "SVHN" in row.name:
        given["inputs"] = row.examples()[:2]
    here = mock.patch.object(saved_model, "outputs_elsewhere", outputs_here)
    try:
        with here:
            getattr(ka.export, f"export_{kind}")(row.make(), path, **given)
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        return f"no: {next((short for part, short in SHORT.items() if part in said), said[:200])}"
    return "yes"


def child(wanted: list[list[str]]) -> None:
    """Prints the name, the format and the cell of each of the wanted ones as it is found."""
    from tests.serving.format_rows import rows

    by_name = {row.name: row for row in rows()}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in wanted:
            print(json.dumps([name, kind, cell(by_name[name], kind, Path(folder))]), flush=True)


def cells(wanted: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """All wanted cells; a process that dies costs the one that it was at, and another goes on."""
    found: dict[tuple[str, str], str] = {}
    while rest := [key for key in wanted if key not in found]:
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
    """The table as markdown."""
    names = list(dict.fromkeys(name for name, _ in found))
    lines = [["model", *FORMATS.values()], ["---"] * (1 + len(FORMATS))]
    lines += [[f"`{name}`", *(found[name, kind] for kind in FORMATS)] for name in names]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def committed() -> dict[tuple[str, str], str]:
    """The cells that the page has."""
    text = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    return {
        (name.strip("`"), kind): value
        for name, *values in lines
        for kind, value in zip(FORMATS, values, strict=True)
    }


def main() -> None:
    """Writes the page's table, or prints the rows of the models that are named."""
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
        return
    from tests.serving.format_rows import rows

    names = [row.name for row in rows() if not sys.argv[1:] or row.name.split(",")[0] in sys.argv]
    text = table(cells([(name, kind) for name in names for kind in FORMATS]))
    if sys.argv[1:]:
        print(text)
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    page = before + BEGIN + text + END + rest.partition(END)[2]
    write_whole(PAGE, lambda path: path.write_text(page, encoding="utf-8"))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
