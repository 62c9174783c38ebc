"""Draws where a trained model attends."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import keras

from keras_attention import inspect
from keras_attention.cli import data, run_folder
from keras_attention.cli.answer import Answer, wrote
from keras_attention.training import AttentionDistiller
from keras_attention.utils.validation import one_of

SUFFIXES = (".png", ".pdf", ".svg")


def run(options: Namespace) -> Answer:
    """Draws a model's attention, or a student's beside its teacher's."""
    default = run_folder.folder_of(options.model) / run_folder.FIGURES / "attention.png"
    path: Path = options.output or default
    one_of("suffix of --output", path.suffix, SUFFIXES)
    model = run_folder.load_model(options.model)
    images = data.images_to_show(data.data_of(options), options.images)
    data.check_input(model, images.shape[1:])
    if options.teacher is not None:
        inspect.plot_attention(_distiller(model, options), images, path)
        return wrote(figure=path)
    layers = options.layer
    layer: Any = layers[0] if layers is not None and len(layers) == 1 else layers
    inspect.plot_attention(model, images, path, layer=layer)
    return wrote(figure=path)


def _distiller(student: keras.Model, options: Namespace) -> AttentionDistiller:
    """What shows the same layers of both (Zagoruyko and Komodakis, 2017)."""
    teacher = run_folder.load_model(options.teacher)
    if options.layer is None:
        raise ValueError(
            "`--layer` must name the layers that --teacher is compared in, such as "
            "--layer group1 group2 group3. Received: none"
        )
    return AttentionDistiller(student, teacher, pairs=options.layer)
