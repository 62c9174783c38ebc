"""Help comes at once, its examples are true, and shells complete names."""

import shlex
import subprocess
import sys
import time

import pytest

from keras_attention.cli import main
from keras_attention.cli.examples import EXAMPLES, NAME
from keras_attention.cli.parser import SHELLS, command_parser

ASK = """
import sys
sys.argv = ["keras-attention", *sys.argv[1:]]
from keras_attention.cli import main
try:
    main()
except SystemExit as leaving:
    code = leaving.code
heavy = {"keras", "tensorflow", "numpy", "matplotlib", "rich"} & set(sys.modules)
sys.exit(f"imports {heavy}" if heavy else code)
"""


@pytest.mark.parametrize(("command", "example"), [(c, e) for c in EXAMPLES for e in EXAMPLES[c]])
def test_examples_are_parsed(command, example):
    program, *arguments = shlex.split(example)
    assert program == NAME
    assert command_parser().parse_args(arguments).command == command


def test_every_command_has_examples_that_a_shell_reads(capsys):
    for command, examples in EXAMPLES.items():
        with pytest.raises(SystemExit) as leaving:
            main([command, "--help"])
        assert leaving.value.code == 0
        shown = capsys.readouterr().out.split("examples:")[1].replace("\\\n", " ")
        assert shown.split() == " ".join(examples).split()
    assert set(EXAMPLES) == set(command_parser()._actions[-1].choices)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["train", "--help"], 0), (["--version"], 0), (["train", "--epoch"], 2)]
)
def test_help_and_mistyped_options_import_nothing_heavy(arguments, code):
    start = time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-c", ASK, *arguments], capture_output=True, text=True, check=False
    )
    assert answer.returncode == code, answer.stderr
    assert time.monotonic() - start < 5, "a second where nothing else runs"


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_names(shell, capsys):
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
    ask = (
        f"source ./script; COMP_WORDS=(keras-attention {words}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shtab_keras_attention; echo ${COMPREPLY[@]}"
    )
    answer = subprocess.run(
        ["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == completed
