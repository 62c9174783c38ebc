"""The `plot` command: plots the attention maps of a trained model."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import keras

from keras_attention import inspect
from keras_attention.cli import data, run_folder
from keras_attention.cli.commands import CommandResult
from keras_attention.training import AttentionDistiller
from keras_attention.utils.validation import one_of

SUFFIXES = (".png", ".pdf", ".svg")


def run(options: Namespace) -> CommandResult:
    """Plots the attention of a model, or of a student and its teacher."""
    default = run_folder.output_folder(options.model) / run_folder.FIGURES / "attention.png"
    path: Path = options.output or default
    one_of("suffix of --output", path.suffix, SUFFIXES)
    model = run_folder.load_model(options.model)
    images = data.images_to_plot(data.data_config(options), options.images)
    data.validate_input(model, images.shape[1:])
    arguments: dict[str, Any] = {
        "image_range": options.image_range,
        "indices": options.images,
        "grad_cam": options.grad_cam,
        "dpi": options.dpi,
        "width": options.width,
    }
    if options.teacher is None:
        layers = options.layer
        layer: Any = layers[0] if layers is not None and len(layers) == 1 else layers
        inspect.plot_attention(model, images, path, layer=layer, **arguments)
    else:
        inspect.plot_attention(_distiller(model, options), images, path, **arguments)
    return CommandResult({"figure": path}, [f"wrote {path}"])


def _distiller(student: keras.Model, options: Namespace) -> AttentionDistiller:
    """Pairs the requested layers of student and teacher, whose maps are plotted side by side."""
    teacher = run_folder.load_model(options.teacher)
    if options.layer is None:
        raise ValueError(
            "`--layer` must name the layers to compare with those of --teacher, for example "
            "--layer group1 group2 group3. Received: --layer=None"
        )
    return AttentionDistiller(student, teacher, pairs=options.layer)
