"""Decoding of image files in exports, compared with another library."""

import functools
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import keras_attention as ka
from keras_attention.export.saved_model import MAX_PIXELS, image_decoder, image_input_shape
from tests.serving.image_files import SIZE, colors, encoded, png

RGB = colors()
GRAY = RGB[..., 0]
SIXTEEN = (GRAY.astype("uint16") * 251 + 100).astype("uint16")
LUMA = np.array([0.2989, 0.587, 0.114])
ANY = (None, None, 3)


@functools.cache
def traced_decoder(shape):
    """The decoder as a graph, as in a server."""
    files = tf.TensorSpec((None,), tf.string)
    return tf.function(image_decoder(shape), input_signature=[files], autograph=False)


def decode(*files, shape=ANY):
    return traced_decoder(shape)(tf.constant(list(files))).numpy()


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_png_pixels_are_exact(count, height, width, seed):
    shape = (count, height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    decoded = decode(*map(png, pixels))
    np.testing.assert_allclose(decoded, pixels / 255, atol=1e-6)
    gray = decode(*map(png, pixels), shape=(None, None, 1))
    np.testing.assert_allclose(gray[..., 0], pixels @ LUMA / 255, atol=1e-4)


REPEATED = np.repeat(GRAY[..., None], 3, axis=-1)
PALETTE = Image.fromarray(RGB).quantize(16)
BLACK_OR_WHITE = Image.fromarray(GRAY).convert("1")
KINDS = {
    "gray": (png(GRAY), REPEATED / 255),
    "gray and alpha": (png(np.stack([GRAY, 255 - GRAY], -1)), REPEATED / 255),
    "alpha": (png(np.concatenate([RGB, RGB[..., :1]], -1)), RGB / 255),
    "palette": (encoded(PALETTE), np.asarray(PALETTE.convert("RGB")) / 255),
    "one bit": (encoded(BLACK_OR_WHITE), np.asarray(BLACK_OR_WHITE.convert("RGB")) / 255),
    "16 bits": (png(SIXTEEN), np.repeat(SIXTEEN[..., None], 3, axis=-1) / 65535),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_png(kind):
    file, expected = KINDS[kind]
    np.testing.assert_allclose(decode(file)[0], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_kinds_of_jpeg(mode, progressive):
    image = Image.fromarray(RGB).convert(mode)
    file = encoded(image, "JPEG", subsampling=0, quality=95, progressive=progressive)
    expected = np.asarray(image.convert("RGB")) / 255
    assert np.abs(decode(file)[0] - expected).mean() < 0.03


def test_exif_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    rotated = encoded(Image.fromarray(RGB), "JPEG", exif=exif)
    np.testing.assert_array_equal(decode(rotated), decode(encoded(Image.fromarray(RGB), "JPEG")))


def test_images_are_resized_to_the_model_and_stay_in_range():
    decoded = decode(png(RGB), png(colors((30, 50))), shape=(12, 5, 3))
    assert decoded.shape == (2, 12, 5, 3)
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    np.testing.assert_allclose(decoded.mean((1, 2))[0], RGB.mean((0, 1)) / 255, atol=0.03)
    wide = decode(png(RGB), png(colors((30, SIZE[1]))), shape=(12, None, 3))
    assert wide.shape == (2, 12, SIZE[1], 3)


def test_images_of_a_batch_must_have_one_size():
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have the same size"):
        decode(png(RGB), png(colors((8, 8))))


def header(rows, columns):
    """A small PNG file whose header claims a large size."""
    fields = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(b"IHDR" + fields))
    return png(RGB)[:8] + struct.pack(">I", 13) + b"IHDR" + fields + check + png(RGB)[33:]


WHOLE, JPEG = png(RGB), encoded(Image.fromarray(RGB), "JPEG")
MALFORMED = {
    "nothing": b"",
    "one byte": b"\x89",
    "text": b"This is not an image.",
    "PNG signature only": WHOLE[:8],
    "truncated PNG": WHOLE[:-20],
    "corrupt PNG": WHOLE[:45] + bytes([WHOLE[45] ^ 255]) + WHOLE[46:],
    "JPEG signature only": JPEG[:4],
    "truncated JPEG": JPEG[: len(JPEG) // 2],
    "GIF": encoded(PALETTE, "GIF"),
    "too many pixels": header(MAX_PIXELS // 8192 + 1, 8192),
    "no pixels": header(0, 5),
    "largest possible size": header(2**31 - 1, 2**31 - 1),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_files_raise_errors(kind):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(MALFORMED[kind])
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(WHOLE, MALFORMED[kind], shape=(4, 4, 1))


def test_image_shape_of_a_model():
    layers = keras.layers
    for sides, dtype, expected in (
        ((None, 5, 1), "float32", (None, 5, 1)),
        ((4, 5, 3), "float16", (4, 5, 3)),
        ((4, 5, 2), "float32", None),
        ((4, 5, 3), "uint8", None),
        ((4, 5), "float32", None),
    ):
        inputs = keras.Input(sides, dtype=dtype)
        model = keras.Model(inputs, layers.Flatten()(inputs))
        assert image_input_shape(model) == expected
    first = layers.Conv2D(2, 3, data_format="channels_first")
    model = keras.Sequential([keras.Input((3, 8, 6)), first])
    assert image_input_shape(model) == (8, 6, 3)
    two = [keras.Input((4, 4, 3)), keras.Input((4, 4, 3))]
    assert image_input_shape(keras.Model(two, layers.Add()(two))) is None


@pytest.mark.usefixtures("reloads_here")
def test_files_and_pixels_have_the_same_outputs(tmp_path):
    first = {"data_format": "channels_first"}
    inputs = keras.Input((1, None, None))
    x = ka.layers.TargetLayer(4, 3, **first)(inputs)
    x = keras.layers.GlobalAveragePooling2D(**first)(ka.layers.CBAM(2, **first, name="cbam")(x))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    path = ka.export.export_saved_model(model, tmp_path / "served", attention=True)
    served = tf.saved_model.load(path)
    outputs = served.serve_bytes(tf.constant([WHOLE, WHOLE]))
    assert {name: tensor.shape for name, tensor in outputs.items()} == {
        "predictions": (2, 3),
        "target_layer_attention": (2, 4, *SIZE),
        "cbam_attention": (2, 4, *SIZE),
    }
    gray = (RGB @ LUMA / 255).astype("float32")
    np.testing.assert_allclose(outputs["predictions"][0], model(gray[None, None])[0], atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        served.serve_bytes(tf.constant([WHOLE, MALFORMED["text"]]))
    assert served.serve_bytes(tf.constant([WHOLE]))["predictions"].shape == (1, 3)


@pytest.mark.usefixtures("reloads_here")
def test_endpoint_for_files_is_optional(tmp_path):
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), dense(2)])
    path = ka.export.export_saved_model(model, tmp_path / "a", image_bytes=False)
    assert sorted(tf.saved_model.load(path).signatures) == ["serve", "serving_default"]
    sequences = keras.Sequential([keras.Input((4, 3)), dense(2)])
    with pytest.raises(ValueError, match="1 or 3 channels"):
        ka.export.export_saved_model(sequences, tmp_path / "b", image_bytes=True)
    path = ka.export.export_saved_model(sequences, tmp_path / "b")
    assert "serve_bytes" not in tf.saved_model.load(path).signatures
