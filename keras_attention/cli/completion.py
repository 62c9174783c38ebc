"""Scripts that complete words of the command line in a shell."""

import argparse
from pathlib import Path

import shtab

from keras_attention import applications, datasets


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Writes what a shell completes: commands, options, names of models and data sets, files.

    Names are written down, so that completing them takes no time: of another version of the
    package there is another script.

    Args:
        parser: Of the whole command line.
        shell: `"bash"`, `"zsh"` or `"tcsh"`.
    """
    for command in _commands(parser):
        for action in command._actions:
            _say_values(action)
    return shtab.complete(parser, shell)


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    kinds = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return [command for kind in kinds for command in kind.choices.values()]


def _say_values(action: argparse.Action) -> None:
    if action.metavar == "MODEL":
        action.choices = applications.list_models()
    elif action.dest == "data":
        action.choices = list(datasets.list_datasets())
    elif action.type is Path:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.dest == "data_dir":
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
