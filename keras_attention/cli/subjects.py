"""Finds the models that are to be compared, and the input that all of them take."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention import applications, datasets
from keras_attention.cli import run_folder
from keras_attention.utils.validation import nearest

Shape = tuple[int, ...]


def subjects(
    texts: Sequence[str], data: str | None, size: int | None
) -> tuple[dict[str, keras.Model], Shape]:
    """Builds or loads models, by what they are called on the command line.

    Args:
        texts: Names of models, run folders and .keras files.
        data: A data set whose shape they take; None for that of the first file, or their own.
        size: Pixels along its sides, or steps.

    Returns:
        The models in order, and the shape of their input.

    Raises:
        ValueError: For what is neither, and models that do not take the same input.
    """
    shape = _shape_of_data(data, size)
    loaded = {text: run_folder.load_model(_path(text)) for text in texts if not _is_name(text)}
    for model in loaded.values():
        shape = shape or _known(model.input_shape[1:])
    options: dict[str, Any] = {} if shape is None else {"input_shape": shape}
    models = {
        text: loaded[text] if text in loaded else applications.build(text, **options)
        for text in texts
    }
    for model in models.values():
        shape = shape or _known(model.input_shape[1:])
    if shape is None:
        raise ValueError(
            "`--data` must name a data set whose shape to take: the models take any. "
            f"Received: {', '.join(texts)}"
        )
    for text, model in models.items():
        _check_takes(text, model, shape)
    return models, shape


def _shape_of_data(data: str | None, size: int | None) -> Shape | None:
    if data is None:
        if size is not None:
            raise ValueError(f"`--size` needs --data. Received: --size={size}")
        return None
    info = datasets.find(data)
    shape = list(info.shape_of("train"))
    if size is not None:
        axes = {"images": 2, "sequences": 1}[info.kind]
        shape[:axes] = [size] * axes
    if None in shape:
        raise ValueError(
            f"`--data` must have a shape that is known without its files. Received: --data={data}"
        )
    return _known(tuple(shape))


def _known(shape: Sequence[int | None]) -> Shape | None:
    sizes = tuple(side for side in shape if side is not None)
    return sizes if len(sizes) == len(shape) else None


def _is_name(text: str) -> bool:
    return text in applications.list_models()


def _path(text: str) -> Path:
    path = Path(text)
    if path.exists():
        return path
    names = applications.list_models()
    raise ValueError(
        f"MODEL must be a run folder, a .keras file, or one of {', '.join(names)}. "
        f"Received: {text!r}.{nearest(text, names)}"
    )


def _check_takes(text: str, model: keras.Model, shape: Shape) -> None:
    allowed = tuple(model.input_shape[1:])
    fits = len(allowed) == len(shape) and all(
        side in (None, size) for side, size in zip(allowed, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"All models must take the same input, here {shape}; `--data` says another. "
            f"Received: {text} with {allowed}"
        )
