"""Export to TensorFlow's SavedModel format, with an endpoint for encoded images."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention import backend
from keras_attention.export import verification
from keras_attention.graph.image_range import (
    BYTES,
    UNIT,
    Range,
    scale_images,
    validate_image_range,
)
from keras_attention.inspect.with_attention import with_attention
from keras_attention.utils.validation import boolean

# Endpoints, and the input of the second one. TensorFlow Serving decodes base64 in JSON for inputs
# whose names end in _bytes.
SERVE, SERVE_BYTES = "serve", "serve_bytes"
IMAGE_BYTES = "image_bytes"

PNG_SIGNATURE, JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# Offset of the width and the height, two big-endian integers, in a PNG file.
PNG_SIZE_OFFSET = 16
# Limit for one image: a small file can expand to more than the memory of a server.
MAX_PIXELS = 2**26
IMAGE_CHANNELS = (1, 3)
# Suffixes of files in other formats, which are no names of folders.
OTHER_SUFFIXES = (".h5", ".keras", ".onnx", ".pb", ".tflite")
# Height and width, None for any, and channels.
ImageShape = tuple[int | None, int | None, int]


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
    image_range: Any = None,
) -> Path:
    """Exports a model to a SavedModel, loads it in a new process and compares the outputs.

    The new process has TensorFlow but not this package, like a server. The SavedModel is written
    under a temporary name and renamed to `path` after verification, so that `path` never contains
    an unverified export. Outputs are float32 for every dtype policy. The endpoints `serve` and
    `serving_default` accept any batch size, and any image size that the model accepts. Models of
    images also have the endpoint `serve_bytes`, with the same outputs.

    `serve_bytes` takes `image_bytes`, a string tensor `(B,)` of PNG and JPEG files. Images are
    decoded, converted to grayscale for models with one channel, resized to the input size of the
    model (bilinear with antialiasing, ignoring the aspect ratio) and scaled to the range of values
    that the model expects, `image_range`. By default, this is the range that the first layers of
    the model rescale, such as `[0, 255]` for `Rescaling(1 / 255)`, otherwise the one that `inputs`
    show, otherwise `[0, 1]`, like the data sets of `ka.datasets`. If the model accepts any size,
    images are not resized, and those of a batch must have the same size. Alpha channels and EXIF
    orientation are ignored. If a file is incomplete, has another format or more than 67 million
    pixels, the request for the whole batch fails with an error.

    The export has the outputs of the model. To serve probabilities from a model that outputs
    logits or log-probabilities, such as `WARN(classifier_activation=None)`, append the activation:
    `keras.Model(model.input, keras.ops.softmax(model.output))`.

    Args:
        model: A built Keras model.
        path: The folder to create.
        inputs: Examples with a batch axis on which outputs are compared, in the structure of the
            model's inputs. None draws two examples from a normal distribution; required for
            subclassed models.
        tolerance: Largest allowed difference of an output, relative to the largest absolute value
            of that output, or to 1 if that is larger. None for 1e-5, or for a value that fits the
            half precision of the model's layers.
        overwrite: If True, an existing SavedModel is replaced.
        fused: If True, XLA compiles chains of elementwise operations in the served model, as in
            training (`SANBlock`), and single images (`PatchRefiner(fused=True)`, used by `DCN`).
            TensorFlow Serving then needs `--xla_cpu_compilation_enabled=true`. If False, the
            export consists of plain operations, which all servers support.
        attention: If True, the export returns a dictionary of the model's output, all attention
            maps and gates, with the names of `inspect.with_attention`.
        image_bytes: If True, the export has the endpoint `serve_bytes`. None adds it if the model
            has one input of floating-point images with 1 or 3 channels.
        image_range: `(low, high)`, the value range of the images on which the model was trained:
            the values of black and white. None infers it, see above.

    Returns:
        The path of the SavedModel.

    Raises:
        FileExistsError: If `path` exists and must not be replaced.
        ValueError: If the path has the suffix of another format, the model is not built, the inputs
            do not match, `attention` is requested for a model without attention,
            `image_bytes=True` for a model without image input, or `image_range` is no pair of
            increasing numbers.
        RuntimeError: If the export does not load, or its outputs differ.

    Example:
    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, f"{folder}/served")
    ...     sorted(item.name for item in path.iterdir() if item.is_file())
    ['fingerprint.pb', 'saved_model.pb']
    """
    path = Path(path).resolve()
    validate_image_range(image_range)
    model = with_attention(model) if boolean("attention", attention) else model
    tolerance = verification.resolve_tolerance(model, tolerance)
    _validate_path(path, overwrite)
    values = verification.example_range(model, image_range, inputs)
    examples = verification.example_inputs(model, inputs, values)
    with verification.temporary_export(path, "saved_model") as temporary:
        with contextlib.nullcontext() if boolean("fused", fused) else backend.fusion_disabled():
            exported = verification.with_float32_outputs(model, examples)
            image_shape = _image_shape_to_serve(exported, image_bytes)
            signature = verification.symbolic_inputs_and_outputs(exported, examples)[0]
            images = None if image_shape is None else (image_shape, values or UNIT)
            _write(exported, signature, temporary, images)
        calls = _verification_calls(exported, examples, images)
        inputs = {endpoint: served for endpoint, (served, _) in calls.items()}
        outputs = outputs_in_new_process(temporary, inputs, temporary.parent)
        for endpoint, received in outputs.items():
            expected = verification.expected_outputs(model, calls[endpoint][1])
            verification.compare_outputs(f"SavedModel ({endpoint})", expected, received, tolerance)
    return path


def _validate_path(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() in OTHER_SUFFIXES:
        raise ValueError(
            "`path` must be a folder, without the suffix of a file. "
            f"Received: path={str(path)!r}. For other formats use `export_onnx`, `export_litert` "
            "or `model.save`."
        )
    if path.exists() and not (path / "saved_model.pb").is_file():
        raise FileExistsError(
            "`path` must be new, or an existing SavedModel with overwrite=True. "
            f"Received: path={str(path)!r}, which is not a SavedModel"
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"`path` must be new. Received: path={str(path)!r}. Pass overwrite=True to replace "
            "the SavedModel"
        )


def _image_shape_to_serve(model: keras.Model, image_bytes: bool | None) -> ImageShape | None:
    """Returns the image shape for `serve_bytes`, None for an export without that endpoint."""
    if image_bytes is not None and not boolean("image_bytes", image_bytes):
        return None
    shape = image_input_shape(model)
    if shape is None and image_bytes:
        raise ValueError(
            "`image_bytes` requires a model with one input of floating-point images with "
            f"{' or '.join(map(str, IMAGE_CHANNELS))} channels. Received: image_bytes=True and "
            f"{model.name!r} with {keras.tree.map_structure(lambda x: x.shape, model.inputs)}"
        )
    return shape


def image_input_shape(model: keras.Model) -> ImageShape | None:
    """Returns height, width and channels of the images that a model accepts, None without any."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or "float" not in str(inputs[0].dtype):
        return None
    first, second, third = inputs[0].shape[1:]
    shape = (second, third, first) if _is_channels_first(model) else (first, second, third)
    return shape if shape[-1] in IMAGE_CHANNELS else None


def _is_channels_first(model: keras.Model) -> bool:
    formats = {getattr(layer, "data_format", None) for layer in model._flatten_layers()} - {None}
    return formats == {"channels_first"}


def _write(
    model: keras.Model, signature: Any, folder: Path, images: tuple[ImageShape, Range] | None
) -> None:
    """Writes a SavedModel; its inputs have the names and the structure of the signature."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    # Without `training`, layers for augmentation would augment.
    serve = archive.add_endpoint(SERVE, lambda *inputs: model(*inputs, training=False), [signature])
    if images is not None:
        shape, image_range = images
        decode = image_decoder(shape, _is_channels_first(model), image_range)
        dtype = keras.tree.flatten(signature)[0].dtype

        def serve_bytes(image_bytes: tf.Tensor) -> Any:
            with tf.device("cpu"):  # there are no GPU kernels for decoding
                decoded = tf.cast(decode(image_bytes), dtype)
            return serve(keras.tree.pack_sequence_as(signature, [decoded]))

        files = tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES)
        traced = tf.function(serve_bytes, input_signature=[files], autograph=False)
        traced.get_concrete_function()
        archive.add_endpoint(SERVE_BYTES, traced)
    archive.write_out(str(folder), verbose=False)


def _verification_calls(
    model: keras.Model, examples: Any, images: tuple[ImageShape, Range] | None
) -> dict[str, tuple[Any, Any]]:
    """Returns the inputs of each endpoint, and the corresponding inputs of the model."""
    calls = {SERVE: (examples, examples)}
    if images is not None:
        shape, image_range = images
        example = keras.tree.flatten(examples)[0]
        channels_first = _is_channels_first(model)
        files = _example_files(example.shape, shape, channels_first)
        decoded = _model_images(files, shape, image_range, channels_first).astype(example.dtype)
        calls[SERVE_BYTES] = (
            files.numpy().astype("S"),
            keras.tree.pack_sequence_as(examples, [decoded]),
        )
    return calls


def _example_files(
    shape: Sequence[int], image_shape: ImageShape, channels_first: bool
) -> tf.Tensor:
    """Encodes random images as a PNG and a JPEG file.

    They have the size of the examples if the model accepts any size; otherwise they are one pixel
    larger, so that resizing is verified.
    """
    height, width = shape[2:4] if channels_first else shape[1:3]
    extra = [0 if side is None else 1 for side in image_shape[:2]]
    size = (2, height + extra[0], width + extra[1], image_shape[2])
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    return tf.stack([tf.io.encode_png(noise[0]), tf.io.encode_jpeg(noise[1])])


def _model_images(
    files: tf.Tensor, shape: ImageShape, image_range: Range, channels_first: bool
) -> np.ndarray:
    """Converts files to the images that the model expects, without the code of the endpoint."""
    pixels = np.stack([tf.io.decode_png(files[0], 3), tf.io.decode_jpeg(files[1], 3)])
    if shape[2] == 1:
        pixels = pixels @ np.array([[0.2989], [0.587], [0.114]])  # BT.601 luma
    images = scale_images(pixels.astype("float32"), BYTES, image_range)
    sides = [side or own for side, own in zip(shape[:2], images.shape[1:3], strict=True)]
    images = tf.image.resize(images, sides, antialias=True).numpy()
    return np.moveaxis(images, -1, 1) if channels_first else images


# Run by a new process, which has TensorFlow but not this package, like a server.
_SERVING_PROGRAM = """
import json, sys
import numpy as np
import tensorflow as tf

path, folder, calls = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = tf.saved_model.load(path)
for endpoint, names in calls.items():
    data = np.load(f"{folder}/{endpoint}-inputs.npz")
    inputs = [tf.constant(data[f"input_{i}"]) for i in range(len(data.files))]
    single = inputs[0] if len(inputs) == 1 else inputs
    served = getattr(model, endpoint)(dict(zip(names, inputs)) if names else single)
    outputs = {f"output_{i}": np.asarray(x) for i, x in enumerate(tf.nest.flatten(served))}
    np.savez(f"{folder}/{endpoint}-outputs.npz", **outputs)
assert "keras_attention" not in sys.modules
"""


def outputs_in_new_process(
    path: Path, calls: dict[str, Any], folder: Path
) -> dict[str, list[np.ndarray]]:
    """Loads a SavedModel in a new process and returns the flat outputs of its endpoints.

    `calls` has the inputs of each endpoint. Both are exchanged as files in `folder`.
    """
    for endpoint, inputs in calls.items():
        flat = keras.tree.flatten(inputs)
        arrays: dict[str, Any] = {f"input_{index}": array for index, array in enumerate(flat)}
        np.savez(folder / f"{endpoint}-inputs.npz", **arrays)
    names = {
        endpoint: sorted(inputs) if isinstance(inputs, dict) else []
        for endpoint, inputs in calls.items()
    }
    result = subprocess.run(
        [sys.executable, "-c", _SERVING_PROGRAM, str(path), str(folder), json.dumps(names)],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"The SavedModel was written but does not load: {reason[0]}")
    outputs = {}
    for endpoint in calls:
        with np.load(folder / f"{endpoint}-outputs.npz") as arrays:
            outputs[endpoint] = list(arrays.values())
    return outputs


def image_decoder(
    shape: ImageShape, channels_first: bool = False, image_range: Range = UNIT
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Creates a function from PNG and JPEG files, `(B,)`, to float32 images in `image_range`.

    Where height or width is None, images are not resized and must have the same size. The function
    consists of TensorFlow operations, which fail for incomplete files and other formats.

    Example:
    >>> white = tf.io.encode_png(tf.fill((5, 4, 3), tf.constant(255, tf.uint8)))
    >>> image_decoder((8, 8, 1))(tf.stack([white, white])).shape
    TensorShape([2, 8, 8, 1])
    """
    height, width, channels = shape

    def decode(files: tf.Tensor) -> tf.Tensor:
        sizes = tf.map_fn(_read_size, files, fn_output_signature=tf.TensorSpec((2,), tf.int32))
        same = tf.equal(sizes, sizes[:1]) | tf.constant([height is not None, width is not None])
        expected = "The images of a batch must have the same size for this model. Received:"
        with _assert(tf.reduce_all(same), expected, sizes):
            files = tf.identity(files)
        images = tf.map_fn(
            lambda file: _resize(_decode(file, channels), height, width),
            files,
            fn_output_signature=tf.TensorSpec((height, width, channels), tf.float32),
        )
        images = scale_images(images, UNIT, image_range)
        return tf.transpose(images, (0, 3, 1, 2)) if channels_first else images

    return decode


def _read_size(file: tf.Tensor) -> tf.Tensor:
    """Reads and validates height and width from the header of a file, `(2,)`."""
    length = tf.strings.length(file)

    def starts_with(signature: bytes) -> tf.Tensor:
        start = tf.strings.substr(file, 0, tf.minimum(length, len(signature)))
        return tf.equal(start, signature)

    is_jpeg = starts_with(JPEG_SIGNATURE)
    is_png = starts_with(PNG_SIGNATURE) & (length >= PNG_SIZE_OFFSET + 8)
    expected = "Images must be PNG or JPEG files. Received a file with this number of bytes:"
    with _assert(is_png | is_jpeg, expected, length):
        file = tf.identity(file)
    size = tf.cond(
        is_jpeg, lambda: tf.image.extract_jpeg_shape(file)[:2], lambda: _read_png_size(file)
    )
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    is_valid = (pixels > 0) & (pixels <= MAX_PIXELS)
    expected = f"Images must have 1 to {MAX_PIXELS} pixels. Received height and width:"
    with _assert(is_valid, expected, size):
        return tf.identity(size)


def _read_png_size(file: tf.Tensor) -> tf.Tensor:
    content = tf.strings.substr(file, PNG_SIZE_OFFSET, 8)
    width_and_height = tf.io.decode_raw(content, tf.int32, little_endian=False)
    return tf.ensure_shape(width_and_height[::-1], (2,))


def _decode(file: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes an image to `[0, 1]`, with the precision of 16-bit files and without alpha."""
    image = tf.io.decode_image(file, channels=3, dtype=tf.float32, expand_animations=False)
    image = tf.ensure_shape(image, (None, None, 3))
    return tf.image.rgb_to_grayscale(image) if channels == 1 else image


def _resize(image: tf.Tensor, height: int | None, width: int | None) -> tf.Tensor:
    """Resizes an image as the data sets of this package do, where a size is given."""
    if height is None and width is None:
        return image
    rows, columns = tf.unstack(tf.shape(image)[:2])
    size = (rows if height is None else height, columns if width is None else width)
    resized = tf.image.resize(image, size, antialias=True)
    return tf.ensure_shape(resized, (height, width, image.shape[-1]))


def _assert(condition: tf.Tensor, expected: str, received: tf.Tensor) -> Any:
    """Returns a context whose operations run only if the condition holds."""
    check = tf.debugging.Assert(condition, [expected, received], summarize=8)
    return tf.control_dependencies([] if check is None else [check])
