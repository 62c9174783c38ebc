"""Trains a model into a run folder, then draws its attention."""

import csv
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

from keras_attention import inspect
from keras_attention.cli import data, run_folder, training
from keras_attention.cli.answer import Answer
from keras_attention.cli.asked import asked_of
from keras_attention.cli.building import build, check_answers
from keras_attention.cli.examples import NAME
from keras_attention.cli.run_config import RunConfig, complete
from keras_attention.training.resumable_fit import Terminated
from keras_attention.training.training_state import DivergenceError
from keras_attention.utils.io import locked
from keras_attention.utils.validation import positive_integer


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or SIGTERM, which has an exit code of its own."""

    def __init__(self, message: str, interruption: BaseException):
        super().__init__(message)
        if isinstance(interruption, Terminated):
            self.code = interruption.code


def run(options: Namespace) -> Answer:
    """Trains a new run, or continues one."""
    config, folder = _config_and_folder(options)
    if options.checkpoint_steps is not None:
        positive_integer("--checkpoint-steps", options.checkpoint_steps)
    if not options.resume:
        # What is wrong with the options shows before a folder is made.
        check_answers(config)
        model = build(config, data.load_training(config, config.batch_size))
        if options.animate:
            _check_attends(config, model)
        run_folder.check_new(folder)
    with locked(folder):
        if options.resume:
            run_folder.take_up(folder)
        else:
            run_folder.create(folder, config)
        try:
            return _train(options, config, folder)
        except (KeyboardInterrupt, Terminated) as interruption:
            done = _how_to_go_on(options, config, folder)
            raise Interrupted(f"interrupted {done}", interruption) from interruption
        except DivergenceError as error:
            raise ValueError(f"{error} {_how_to_start_anew(config, folder)}") from error
        except OSError as error:
            done = _how_to_go_on(options, config, folder)
            raise OSError(f"{error}; stopped {done}") from error


def _train(options: Namespace, config: RunConfig, folder: Path) -> Answer:
    written = {"model": folder / run_folder.MODEL, "history": folder / run_folder.HISTORY}
    watchers = []
    if options.animate:
        written["animation"] = folder / run_folder.FIGURES / "attention.gif"
        images = data.images_to_show(config, None)
        watchers.append(inspect.AttentionAnimation(images, written["animation"]))
    model = training.train(config, folder, watchers, options.checkpoint_steps)
    if inspect.has_attention(model, _shape_of_one(config, model)):
        written["figure"] = folder / run_folder.FIGURES / "attention.png"
        inspect.plot_attention(model, data.images_to_show(config, None), written["figure"])
    return _answer(folder, written)


def _check_attends(config: RunConfig, model: Any) -> None:
    if not inspect.has_attention(model, _shape_of_one(config, model)):
        raise ValueError(
            "`--animate` needs a model that attends, such as TDN10. "
            f"Received: {config.model}, {config.model_options}"
        )


def _config_and_folder(options: Namespace) -> tuple[RunConfig, Path]:
    """The configuration of a new run, or that of the run to continue."""
    asked = asked_of(options)
    if options.resume and options.output is not None:
        return _run_to_continue(asked, options.output), options.output
    config = complete(asked)
    default = Path("runs") / f"{config.model}-{config.data}-{config.seed}"
    folder = options.output or default
    return (_run_to_continue(asked, folder) if options.resume else config), folder


def _run_to_continue(asked: dict[str, Any], folder: Path) -> RunConfig:
    """Reads a run's configuration, and refuses other options than it was started with."""
    config = run_folder.read_config(folder)
    for name, value in asked.items():
        started_with = getattr(config, name)
        if value != started_with:
            raise ValueError(
                f"`--resume` continues the run in {str(folder)!r}, which has {name} = "
                f"{started_with!r}; leave the option out. Received: {value!r}"
            )
    return config


def _shape_of_one(config: RunConfig, model: Any) -> Any:
    """What an image is like where the model takes any size."""
    shape = model.input_shape[1:]
    return None if None not in shape else data.load_training(config, 1).element_spec[0].shape[1:]


def _how_to_go_on(options: Namespace, config: RunConfig, folder: Path) -> str:
    words = [NAME, "train", "--resume", "--output", str(folder)]
    if options.animate:
        words.append("--animate")
    if options.checkpoint_steps is not None:
        words += ["--checkpoint-steps", str(options.checkpoint_steps)]
    done = len(_history(folder))
    return f"after {done} of {config.epochs} epochs; continue with: {shlex.join(words)}"


def _how_to_start_anew(config: RunConfig, folder: Path) -> str:
    rate = ["--learning-rate", f"{config.learning_rate / 10:g}"]
    output = ["--output", f"{folder}-slower"]
    return f"Try: {shlex.join([NAME, 'train', '--config', str(folder), *rate, *output])}"


def _history(folder: Path) -> list[dict[str, str]]:
    path = folder / run_folder.HISTORY
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _answer(folder: Path, written: dict[str, Path]) -> Answer:
    if not written["history"].is_file():
        del written["history"]  # of no epoch there is none
    rows = _history(folder)
    last = dict(rows[-1]) if rows else {}
    last.pop("epoch", None)
    facts = {"run": folder, **written, "epochs": len(rows), "last_epoch": _numbers(last)}
    return Answer(facts, [f"wrote {path}" for path in written.values()])


def _numbers(row: dict[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}
