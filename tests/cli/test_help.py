"""Help is fast, its examples are valid, and shells complete names."""

import json
import runpy
import shlex
import subprocess
import sys
import time

import pytest

from keras_attention.cli import main
from keras_attention.cli.parser import EXAMPLES, PROGRAM, SHELLS, command_parser

HEAVY_MODULES = {"keras", "tensorflow", "numpy", "matplotlib", "rich"}
PROGRAM_WITHOUT_HEAVY_IMPORTS = f"""
import sys
sys.argv = ["keras-attention", *sys.argv[1:]]
from keras_attention.cli import main
try:
    main()
except SystemExit as leaving:
    code = leaving.code
heavy = {HEAVY_MODULES} & set(sys.modules)
sys.exit(f"imports {{heavy}}" if heavy else code)
"""


@pytest.mark.parametrize(("command", "example"), [(c, e) for c in EXAMPLES for e in EXAMPLES[c]])
def test_examples_are_parsed(command, example):
    assert command_parser().parse_args([command, *shlex.split(example)]).command == command


def test_every_command_has_examples_that_a_shell_parses(capsys):
    for command, examples in EXAMPLES.items():
        with pytest.raises(SystemExit) as leaving:
            main([command, "--help"])
        assert leaving.value.code == 0
        printed = capsys.readouterr().out.split("examples:")[1].replace("\\\n", " ")
        commands = [f"{PROGRAM} {command} {arguments}" for arguments in examples]
        assert printed.split() == " ".join(commands).split()
    assert set(EXAMPLES) == set(command_parser()._actions[-1].choices)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["train", "--help"], 0), (["--version"], 0), (["train", "--epoch"], 2)]
)
def test_help_and_invalid_options_do_not_import_keras(arguments, code):
    start = time.monotonic()
    command = [sys.executable, "-c", PROGRAM_WITHOUT_HEAVY_IMPORTS, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    assert time.monotonic() - start < 5, "one second on an idle machine"


def test_python_m_does_not_import_keras_for_help():
    command = [sys.executable, "-X", "importtime", "-m", "keras_attention", "train", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("usage: keras-attention train")
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "keras_attention.cli.parser" in imported
    assert not HEAVY_MODULES & imported


def test_python_m_runs_the_command(monkeypatch, capsys):
    # Doctests may have imported the module already, about which runpy warns.
    monkeypatch.delitem(sys.modules, "keras_attention.__main__", raising=False)
    monkeypatch.setattr(sys, "argv", ["keras_attention", "models", "TKN6", "--json"])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_module("keras_attention", run_name="__main__")
    assert leaving.value.code == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["model"] == "TKN6"


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_contains_names(shell, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--print-completion", shell])
    assert leaving.value.code == 0
    script = capsys.readouterr().out
    for word in ("TDN10", "top_left_digits", "litert"):
        assert word in script


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("train --data top", ["top_left_digits", "top_left_mnist"]),
        ("train TDN", ["TDN10", "TDN40"]),
        ("export --form", ["--format"]),
    ],
)
def test_bash_completes(tmp_path, capsys, words, completed):
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    command = (
        f"source ./script; COMP_WORDS=(keras-attention {words}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shtab_keras_attention; echo ${COMPREPLY[@]}"
    )
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == completed
