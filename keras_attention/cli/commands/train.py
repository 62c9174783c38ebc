"""The `train` command: trains a model into a run folder, or resumes a run."""

import inspect as python_inspect
import shlex
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_attention import applications, backend, datasets, inspect
from keras_attention.cli import data, run_folder
from keras_attention.cli.commands import CommandResult
from keras_attention.cli.config import RunConfig, complete_config, requested_config, require_backend
from keras_attention.cli.parser import PROGRAM
from keras_attention.datasets import DatasetInfo
from keras_attention.layers import AttendRectifyHead
from keras_attention.losses import NegativeLogLikelihood
from keras_attention.training import resumable_fit
from keras_attention.training.training_state import DivergenceError, Terminated
from keras_attention.utils.io import folder_lock, write_atomically
from keras_attention.utils.validation import positive_integer

Builder = Callable[..., keras.Model]


def run(options: Namespace) -> CommandResult:
    """Starts a new run, or resumes one, and plots the attention of the trained model."""
    config, folder = _config_and_folder(options)
    if options.checkpoint_steps is not None:
        positive_integer("--checkpoint-steps", options.checkpoint_steps)
    if not options.resume:
        # Building the model reveals invalid options before a folder is created.
        _check_model_fits_data(config)
        model = build_model(config, data.load_training(config, config.batch_size))
        if options.animate and not inspect.has_attention(model, _example_shape(config, model)):
            raise ValueError(
                "`--animate` requires a model with attention, for example TDN10. "
                f"Received: {config.model}, {config.model_options}"
            )
        run_folder.require_new(folder)
    with folder_lock(folder):
        if options.resume:
            run_folder.prepare_to_resume(folder)
        else:
            run_folder.create(folder, config)
        try:
            return _train_and_plot(options, config, folder)
        except (KeyboardInterrupt, Terminated) as interruption:
            message = f"interrupted {_progress(options, config, folder)}"
            raise KeyboardInterrupt(message) from interruption
        except DivergenceError as error:
            raise ValueError(f"{error} {_slower_command(config, folder)}") from error
        except OSError as error:
            raise OSError(f"{error}; stopped {_progress(options, config, folder)}") from error


def _config_and_folder(options: Namespace) -> tuple[RunConfig, Path]:
    requested = requested_config(options)
    if options.resume and options.output is not None:
        return _config_to_resume(requested, options.output), options.output
    config = complete_config(requested)
    folder = options.output or Path("runs") / f"{config.model}-{config.data}-{config.seed}"
    return (_config_to_resume(requested, folder) if options.resume else config), folder


def _config_to_resume(requested: dict[str, Any], folder: Path) -> RunConfig:
    """Reads the configuration of a run, and rejects options that differ from it."""
    config = run_folder.read_config(folder)
    for name, value in requested.items():
        original = getattr(config, name)
        if value != original:
            raise ValueError(
                f"`--resume` must be used without options that change the run in {str(folder)!r}, "
                f"which has {name} = {original!r}. Received: {name} = {value!r}"
            )
    return config


def _train_and_plot(options: Namespace, config: RunConfig, folder: Path) -> CommandResult:
    paths = {"model": folder / run_folder.MODEL, "history": folder / run_folder.HISTORY}
    callbacks = []
    if options.animate:
        paths["animation"] = folder / run_folder.FIGURES / "attention.gif"
        images = data.images_to_plot(config, None)
        callbacks.append(inspect.AttentionAnimation(images, paths["animation"]))
    model = train(config, folder, callbacks=callbacks, every_steps=options.checkpoint_steps)
    if inspect.has_attention(model, _example_shape(config, model)):
        paths["figure"] = folder / run_folder.FIGURES / "attention.png"
        inspect.plot_attention(model, data.images_to_plot(config, None), paths["figure"])
    if not paths["history"].is_file():
        del paths["history"]  # without epochs there is no history
    rows = run_folder.read_history(folder)
    last = {name: float(value) for name, value in rows[-1].items()} if rows else {}
    last.pop("epoch", None)
    values = {"run": folder, **paths, "epochs": len(rows), "last_epoch": last}
    return CommandResult(values, [f"wrote {path}" for path in paths.values()])


def train(config: RunConfig, folder: Path, **fit_arguments: Any) -> keras.Model:
    """Trains a model from the start or from the last checkpoint, and saves it in the folder.

    `fit_arguments` are passed to `resumable_fit`.
    """
    require_backend(config.backend)
    backend.make_deterministic(config.seed)
    with backend.device_scope(config.devices):
        batches = data.load_training(config, config.batch_size)
        model = build_model(config, batches)
        if config.epochs:
            with backend.synchronized_batch_norm(model):
                _fit(model, batches, config, folder, **fit_arguments)
    write_atomically(folder / run_folder.MODEL, model.save)
    return model


def _fit(
    model: keras.Model, batches: Any, config: RunConfig, folder: Path, **fit_arguments: Any
) -> None:
    steps = int(batches.cardinality())
    regression = datasets.find(config.data).regression
    training_model, loss = model_and_loss(model, regression)
    metric = "mean_absolute_error" if regression else "accuracy"
    outputs = training_model.outputs
    metrics = [[metric] for _ in outputs] if len(outputs) > 1 else [metric]
    optimizer = build_optimizer(config, steps * config.epochs)
    training_model.compile(optimizer, loss, metrics=metrics)
    resumable_fit(
        training_model,
        lambda: data.load_training(config, config.batch_size),
        folder / run_folder.CHECKPOINTS,
        epochs=config.epochs,
        report=lambda rows: run_folder.write_history(folder, rows),
        validation_data=data.load_validation(config),
        **fit_arguments,
    )


def model_and_loss(model: keras.Model, regression: bool) -> tuple[keras.Model, Any]:
    """Returns a model that shares the weights and is to be trained, and its loss.

    The loss is the mean squared error for regression and cross-entropy for classification, summed
    over the outputs. A model whose attend-and-rectify head sums log-probabilities is trained on
    this sum, before the softmax that is appended for inference (Rodriguez et al., Attend and
    Rectify, 2018).
    """
    if regression:
        return model, "mean_squared_error"
    log_probabilities = _summed_log_probabilities(model)
    if log_probabilities is None:
        return model, "sparse_categorical_crossentropy"
    return keras.Model(model.input, log_probabilities, name=model.name), NegativeLogLikelihood()


def _summed_log_probabilities(model: keras.Model) -> Any:
    """Returns the output of the only head, if just an activation layer follows it, else None."""
    heads = [layer for layer in model.layers if isinstance(layer, AttendRectifyHead)]
    last = model.layers[-1]
    if len(heads) == 1 and heads[0].space == "log" and isinstance(last, keras.layers.Activation):
        return last.input if last.input is heads[0].output else None
    return None


# Weight decay would move attention windows to the upper left corner and shrink them. Keras matches
# names such as "center", and on TensorFlow "conv1/center:0".
WINDOW_WEIGHTS = r"(^|/)(center|scale)(:\d+)?$"


def build_optimizer(config: RunConfig, steps: int) -> keras.optimizers.Optimizer:
    """Creates the optimizer and the learning rate schedule for a number of training steps."""
    learning_rate = _learning_rate(config.schedule, config.learning_rate, steps)
    if config.optimizer == "sgd":
        momentum = config.momentum or 0.0
        return keras.optimizers.SGD(learning_rate, momentum=momentum, nesterov=momentum > 0)
    if config.optimizer == "adamw":
        adamw = keras.optimizers.AdamW(learning_rate)
        adamw.exclude_from_weight_decay(var_names=[WINDOW_WEIGHTS])
        return adamw
    classes = {"adam": "Adam", "rmsprop": "RMSprop"}
    return getattr(keras.optimizers, classes[config.optimizer])(learning_rate)


def _learning_rate(schedule: str, initial: float, steps: int) -> Any:
    schedules = keras.optimizers.schedules
    if schedule == "constant":
        return initial
    if schedule == "cosine":
        return schedules.CosineDecay(initial, max(1, steps))
    # Targeted Kernel Networks, section 4.2.
    boundaries = [steps // 2, steps * 3 // 4]
    return schedules.PiecewiseConstantDecay(boundaries, [initial, initial / 10, initial / 100])


def build_model(config: RunConfig, batches: Any) -> keras.Model:
    """Builds the untrained model of a run for the input shape of its training batches."""
    info, builder = datasets.find(config.data), applications.builder(config.model)
    arguments = {**_output_arguments(info), **_load_submodels(builder, config.model_options)}
    try:
        return builder(input_shape=_input_shape(info, batches), **arguments)
    except TypeError as error:
        raise ValueError(
            f"`--model-option` must name options of {config.model}, for example scale_l2=1e-3. "
            f"Received: {config.model_options} ({error})"
        ) from error


def _input_shape(info: DatasetInfo, batches: Any) -> tuple[Any, ...]:
    *sides, channels = batches.element_spec[0].shape[1:]
    if info.label_classes:
        # The model is trained on crops and evaluated on whole photographs.
        sides = [None] * len(sides)
    channels_first = keras.config.image_data_format() == "channels_first"
    return (channels, *sides) if channels_first else (*sides, channels)


def _output_arguments(info: DatasetInfo) -> dict[str, Any]:
    """Returns the builder's arguments that depend on the labels."""
    if info.label_classes:
        # Builders add the class "no digit" themselves; the first label is the number's length.
        return {"classes": info.label_classes[1] - 1, "digits": len(info.label_classes) - 1}
    linear = {"classifier_activation": None} if info.regression else {}
    return {"classes": info.classes, **linear}


def _load_submodels(builder: Builder, options: dict[str, Any]) -> dict[str, Any]:
    """Replaces the run folders among the options by their models, where the builder takes some."""
    parameters = python_inspect.signature(builder).parameters
    models = {key for key, each in parameters.items() if each.annotation == (keras.Model | None)}
    return {
        name: run_folder.load_model(Path(value))
        if name in models and isinstance(value, str)
        else value
        for name, value in options.items()
    }


def _check_model_fits_data(config: RunConfig) -> None:
    """Raises a ValueError if the labels do not match the outputs of the model."""
    info, builder = datasets.find(config.data), applications.builder(config.model)
    data.reject_detection(info)
    if bool(info.label_classes) == _predicts_numbers(builder):
        return
    if info.label_classes:
        builders = (applications.builder(name) for name in applications.list_models())
        fitting = ", ".join(each.__name__ for each in builders if _predicts_numbers(each))
        raise ValueError(
            f"{info.name!r} has {len(info.label_classes)} labels for each image, so MODEL must be "
            f"one of {fitting}. Received: MODEL={builder.__name__}"
        )
    available = datasets.list_datasets().items()
    fitting = ", ".join(name for name, each in available if each.label_classes)
    raise ValueError(
        f"{builder.__name__} recognizes numbers with several digits, so `--data` must be one of "
        f"{fitting}. Received: --data={info.name}"
    )


def _predicts_numbers(builder: Builder) -> bool:
    return "digits" in python_inspect.signature(builder).parameters


def _example_shape(config: RunConfig, model: keras.Model) -> Any:
    """Returns the shape of the training examples if the model accepts several, else None."""
    if None not in model.input_shape[1:]:
        return None
    return data.load_training(config, 1).element_spec[0].shape[1:]


def _progress(options: Namespace, config: RunConfig, folder: Path) -> str:
    """Describes how far training got, and the command that resumes it."""
    words = [PROGRAM, "train", "--resume", "--output", str(folder)]
    if options.animate:
        words.append("--animate")
    if options.checkpoint_steps is not None:
        words += ["--checkpoint-steps", str(options.checkpoint_steps)]
    done = len(run_folder.read_history(folder))
    return f"after {done} of {config.epochs} epochs; resume with: {shlex.join(words)}"


def _slower_command(config: RunConfig, folder: Path) -> str:
    """Suggests the command of a new run with a smaller learning rate."""
    rate = ["--learning-rate", f"{config.learning_rate / 10:g}"]
    output = ["--output", f"{folder}-slower"]
    return f"Try: {shlex.join([PROGRAM, 'train', '--config', str(folder), *rate, *output])}"
