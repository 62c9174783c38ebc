"""Exports for serving that are checked before they count."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import keras

from keras_attention import backend
from keras_attention.export.archive import SERVE, SERVE_BYTES, write_archive
from keras_attention.export.checking import (
    compare,
    examples_for,
    expected_outputs,
    symbolic,
    tolerance_of,
    with_float32_outputs,
)
from keras_attention.export.pictures import (
    CHANNELS,
    Shape,
    example_files,
    picture_shape,
    reader,
    takes_channels_first,
)
from keras_attention.export.reloading import outputs_elsewhere
from keras_attention.inspect.with_attention import with_attention
from keras_attention.utils.validation import flag


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    fused: bool = True,
    attention: bool = False,
    image_bytes: bool | None = None,
) -> Path:
    """Writes a TensorFlow SavedModel, reloads it in a process of its own, compares the outputs.

    That process has TensorFlow alone, as a server. The export is written and checked beside
    `path` under a temporary name and renamed at the end: either a checked model stands at `path`,
    or nothing new. Outputs are float32 whatever the model's dtype policy. The endpoints are
    `serve` and `serving_default`, for any batch size and, where the model takes any, any image
    size; and for models of pictures `serve_bytes`, which returns the same.

    `serve_bytes` takes `image_bytes`, PNG and JPEG files as strings `(B,)`: what a client has. They
    are decoded, made gray for a model of one channel, resized to the size of the model where it has
    one (bilinear, smoothed in shrinking, the sides by themselves) and scaled to `[0, 1]`, which the
    data sets of `ka.datasets` do too: a model that takes another range has to bring pixels there
    itself. Where it takes any size the pictures keep theirs, one in a batch. Alpha and EXIF's
    rotation do not count. A file that is not whole, of another type or of more than 67 million
    pixels is answered by an error, as the whole batch is.

    What the model returns is served. One that was trained to return logits, or logarithms of
    probabilities as `WARN(classifier_activation=None)`, serves probabilities with the activation
    put behind it: `keras.Model(model.input, keras.ops.softmax(model.output))`.

    Args:
        model: A built Keras model.
        path: The folder to make.
        inputs: Real data to compare on, with a batch axis, in the structure that the model takes.
            None draws two examples from a normal distribution; subclassed models need it.
        tolerance: Largest difference of an output, relative to the largest output or 1. None
            takes 1e-5, or what the half precision of the model's layers leaves.
        overwrite: Whether to replace a SavedModel that stands at `path`.
        fused: Whether chains of operations on maps are compiled by XLA where the model is served,
            as they are in training (`SANBlock`), and images that come one by one
            (`PatchRefiner(fused=True)`, as in `DCN`). TensorFlow Serving wants
            `--xla_cpu_compilation_enabled=true` for that; False exports plain operations, which
            every server has.
        attention: Whether the export returns a dictionary of the model's output and all attention
            maps and gates, under the names of `inspect.with_attention`; by default the output only.
        image_bytes: Whether there is an endpoint `serve_bytes`. None asks the model: it has one
            where the model takes one input of floats, pictures of 1 or 3 channels.

    Returns:
        The path of the SavedModel.

    Raises:
        FileExistsError: When something stands at `path` that is not to be replaced.
        ValueError: When the model is not built, the inputs do not fit, there is no attention to
            return, or `image_bytes=True` for a model that takes no pictures.
        RuntimeError: When the reloaded outputs differ or the export does not load.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, f"{folder}/served")
    ...     sorted(item.name for item in path.iterdir() if item.is_file())
    ['fingerprint.pb', 'saved_model.pb']
    """
    path = Path(path).resolve()
    model = with_attention(model) if flag("attention", attention) else model
    tolerance = tolerance_of(model, tolerance)
    _check_target(path, overwrite)
    examples = examples_for(model, inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        written = Path(folder) / "saved_model"
        with contextlib.nullcontext() if flag("fused", fused) else backend.without_fusion():
            served = with_float32_outputs(model, examples)
            picture = _picture(served, image_bytes)
            write_archive(served, symbolic(served, examples)[0], written, picture)
        _check(model, written, _calls(served, examples, picture), Path(folder), tolerance)
        _replace(written, path)
    return path


def _picture(model: keras.Model, image_bytes: bool | None) -> Shape | None:
    """Height, width and channels where there is to be an endpoint for files of pictures."""
    if image_bytes is not None and not flag("image_bytes", image_bytes):
        return None
    shape = picture_shape(model)
    if shape is None and image_bytes:
        raise ValueError(
            "`image_bytes` needs a model of one input, float pictures of "
            f"{' or '.join(map(str, CHANNELS))} channels. Received: image_bytes=True and "
            f"{model.name!r} with {keras.tree.map_structure(lambda x: x.shape, model.inputs)}"
        )
    return shape


def _calls(model: keras.Model, examples: Any, picture: Shape | None) -> dict[str, tuple[Any, Any]]:
    """For each endpoint what it is called with, and what the model is to compare with."""
    calls = {SERVE: (examples, examples)}
    if picture is not None:
        first = takes_channels_first(model)
        files = example_files(keras.tree.flatten(examples)[0].shape, picture, first)
        decoded = reader(picture, first)(files).numpy()
        like = keras.tree.pack_sequence_as(examples, [decoded])
        calls[SERVE_BYTES] = (files.numpy().astype("S"), like)
    return calls


def _check(
    model: keras.Model,
    written: Path,
    calls: dict[str, tuple[Any, Any]],
    folder: Path,
    tolerance: float,
) -> None:
    """Raises RuntimeError where what another process gets is not what the model returns."""
    sent = {endpoint: given for endpoint, (given, _) in calls.items()}
    for endpoint, received in outputs_elsewhere(written, sent, folder).items():
        expected = expected_outputs(model, calls[endpoint][1])
        compare(f"SavedModel ({endpoint})", expected, received, tolerance)


def _check_target(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not (path / "saved_model.pb").is_file():
        raise FileExistsError(
            f"`path` must be new, or a SavedModel to overwrite. Received: path={str(path)!r}"
        )
    if not overwrite:
        raise FileExistsError(
            "`path` must be new; pass overwrite=True to replace the SavedModel there. "
            f"Received: path={str(path)!r}"
        )


def _replace(written: Path, path: Path) -> None:
    if path.exists():
        old = written.with_name("replaced")
        path.replace(old)
        written.replace(path)
        shutil.rmtree(old)
    else:
        written.replace(path)
