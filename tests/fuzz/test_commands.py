"""Fuzz tests of the command line: invalid words and files are refused before work begins."""

import json
from unittest import mock

import pytest
from hypothesis import strategies as st

from keras_attention.cli import main
from keras_attention.cli.config import CONFIG_KEYS
from tests.fuzz.examples import check_examples, few_or_many

COMMANDS = ("train", "evaluate", "plot", "export", "models", "bench")
OPTIONS = (
    *("--data", "--size", "--train-size", "--seed", "--epochs", "--batch-size", "--learning-rate"),
    *(
        "--momentum",
        "--optimizer",
        "--schedule",
        "--data-dir",
        "--data-option",
        "--model-option",
        "--config",
    ),
    *("--output", "--images", "--layer", "--teacher", "--rounds", "--format", "--json", "--resume"),
)
WORDS = (
    *("", "-1", "0", "1.5", "nan", "inf", "1e400", "9" * 30, "x", "=", "a=b", "a=[", "--", "\n"),
    *("../..", "/dev/null", "digits", "[1, 2]", "TDN10", "TKN7", "classes=0", "window=None", "\0"),
    *("roi_groups=" + "9" * 30, "a=" + "(" * 300, "é", "a=1e999", "weights=/etc/passwd"),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture
def idle(tmp_path, monkeypatch):
    """Replaces training, timing and loading of data by an error, and changes to a new folder."""
    monkeypatch.chdir(tmp_path)

    def begin(*args, **kwargs):
        raise ValueError("work began")

    with (
        mock.patch("keras.Model.fit", begin),
        mock.patch("keras_attention.cli.data.load", begin),
        mock.patch("keras_attention.inspect.interleaved_timing", begin),
    ):
        yield tmp_path


def check_exit(arguments, capsys):
    """Checks that the exit code is 0, 1 or 2, without a traceback."""
    try:
        code = main(list(arguments))
    except SystemExit as end:  # argparse's
        code = end.code
    stderr = capsys.readouterr().err
    assert code in (0, 1, 2), (arguments, code)
    assert "Traceback" not in stderr, (arguments, stderr)
    if code == 2:
        lines = stderr.split("\n")
        assert any(line.startswith("keras-attention") for line in lines), (arguments, stderr)


@few_or_many
def test_words(examples, idle, capsys):
    option = st.tuples(st.sampled_from(OPTIONS), st.sampled_from(WORDS))
    words = st.lists(option, max_size=3).map(
        lambda pairs: [word for pair in pairs for word in pair]
    )

    def check(command, first, rest):
        if command == "models" and not first.strip("-"):
            return  # builds every model
        check_exit([command, first, *rest], capsys)

    check_examples(
        examples,
        check,
        command=st.sampled_from(COMMANDS),
        first=st.sampled_from(("TDN10", "DN10", *WORDS)),
        rest=words,
    )


@few_or_many
def test_configurations(examples, idle, capsys):
    valid = {"model": "TDN10", "data": "digits", "epochs": 1}
    path = idle / "run.json"

    def check(changes):
        path.write_text(json.dumps({**valid, **changes}))
        check_exit(["train", "--config", str(path), "--output", str(idle / "run")], capsys)

    check_examples(
        examples, check, changes=st.dictionaries(st.sampled_from(CONFIG_KEYS), JSON, max_size=3)
    )


@few_or_many
@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_files_of_configurations(suffix, examples, idle, capsys):
    path = idle / f"run{suffix}"
    texts = st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
    values = JSON.map(lambda value: json.dumps(value).encode())

    def check(text):
        path.write_bytes(text)
        check_exit(["train", "--config", str(path), "--output", str(idle / "run")], capsys)

    check_examples(examples, check, text=st.one_of(st.binary(max_size=40), texts, values))
    check(b"[" * 100_000)


@few_or_many
@pytest.mark.parametrize("command", ["evaluate", "plot", "export", "bench", "train"])
def test_folders_of_runs(command, examples, idle, capsys):
    folder = idle / "run"
    folder.mkdir()
    valid = {"model": "TDN10", "data": "digits", "epochs": 1, "batch_size": 9, "learning_rate": 0.1}

    def check(changes, model, state):
        (folder / "config.json").write_text(json.dumps({**valid, **changes}))
        for name, text in (("model.keras", model), ("state.npz", state)):
            (folder / name).write_bytes(text)
        first = ["TDN10", "--resume", "--output", str(folder)] if command == "train" else [folder]
        check_exit([command, *map(str, first)], capsys)

    broken = st.one_of(st.binary(max_size=60), st.just(b"PK\3\4" + b"\0" * 30))
    keys = st.sampled_from((*CONFIG_KEYS, "other"))
    check_examples(
        examples, check, changes=st.dictionaries(keys, JSON, max_size=2), model=broken, state=broken
    )
