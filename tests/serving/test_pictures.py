"""Files of pictures as a server gets them, compared with what another library decodes."""

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
from keras_attention.export.pictures import MOST_PIXELS, picture_shape, reader
from tests.serving.made import SIDES, colors, encoded, png

RGB = colors()
GRAY = RGB[..., 0]
SIXTEEN = (GRAY.astype("uint16") * 251 + 100).astype("uint16")
LUMA = np.array([0.2989, 0.587, 0.114])
ANY = (None, None, 3)


@functools.cache
def function(shape):
    """Traced, as a server has it."""
    files = tf.TensorSpec((None,), tf.string)
    return tf.function(reader(shape), input_signature=[files], autograph=False)


def read(*files, shape=ANY):
    return function(shape)(tf.constant(list(files))).numpy()


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_png_pixels_are_those_that_were_written(count, height, width, seed):
    shape = (count, height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    found = read(*map(png, pixels))
    np.testing.assert_allclose(found, pixels / 255, atol=1e-6)
    gray = read(*map(png, pixels), shape=(None, None, 1))
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
    np.testing.assert_allclose(read(file)[0], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_kinds_of_jpeg(mode, progressive):
    image = Image.fromarray(RGB).convert(mode)
    file = encoded(image, "JPEG", subsampling=0, quality=95, progressive=progressive)
    expected = np.asarray(image.convert("RGB")) / 255
    assert np.abs(read(file)[0] - expected).mean() < 0.03


def test_what_a_camera_says_of_its_rotation_does_not_count():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = encoded(Image.fromarray(RGB), "JPEG", exif=exif)
    np.testing.assert_array_equal(read(turned), read(encoded(Image.fromarray(RGB), "JPEG")))


def test_pictures_get_the_size_of_the_model_and_stay_in_range():
    found = read(png(RGB), png(colors((30, 50))), shape=(12, 5, 3))
    assert found.shape == (2, 12, 5, 3)
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_allclose(found.mean((1, 2))[0], RGB.mean((0, 1)) / 255, atol=0.03)
    wide = read(png(RGB), png(colors((30, SIDES[1]))), shape=(12, None, 3))
    assert wide.shape == (2, 12, SIDES[1], 3)


def test_of_any_size_a_batch_has_one():
    with pytest.raises(tf.errors.InvalidArgumentError, match="one size in a batch"):
        read(png(RGB), png(colors((8, 8))))


def header(rows, columns):
    """A PNG file that says to be large and is not."""
    fields = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(b"IHDR" + fields))
    return png(RGB)[:8] + struct.pack(">I", 13) + b"IHDR" + fields + check + png(RGB)[33:]


WHOLE, JPEG = png(RGB), encoded(Image.fromarray(RGB), "JPEG")
MALFORMED = {
    "nothing": b"",
    "a byte": b"\x89",
    "words": b"This is not a picture.",
    "a head of PNG": WHOLE[:8],
    "PNG without its end": WHOLE[:-20],
    "PNG changed within": WHOLE[:45] + bytes([WHOLE[45] ^ 255]) + WHOLE[46:],
    "a head of JPEG": JPEG[:4],
    "JPEG without its end": JPEG[: len(JPEG) // 2],
    "GIF": encoded(PALETTE, "GIF"),
    "too many pixels": header(MOST_PIXELS // 8192 + 1, 8192),
    "no pixels": header(0, 5),
    "more than all": header(2**31 - 1, 2**31 - 1),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_files_are_an_error_that_costs_no_process(kind):
    with pytest.raises(tf.errors.InvalidArgumentError):
        read(MALFORMED[kind])
    with pytest.raises(tf.errors.InvalidArgumentError):
        read(WHOLE, MALFORMED[kind], shape=(4, 4, 1))


def test_models_say_what_pictures_they_take():
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
        assert picture_shape(model) == expected
    first = layers.Conv2D(2, 3, data_format="channels_first")
    model = keras.Sequential([keras.Input((3, 8, 6)), first])
    assert picture_shape(model) == (8, 6, 3)
    two = [keras.Input((4, 4, 3)), keras.Input((4, 4, 3))]
    assert picture_shape(keras.Model(two, layers.Add()(two))) is None


@pytest.mark.usefixtures("reloads_here")
def test_files_are_answered_as_their_pixels_are(tmp_path):
    first = {"data_format": "channels_first"}
    inputs = keras.Input((1, None, None))
    x = ka.layers.TargetLayer(4, 3, **first)(inputs)
    x = keras.layers.GlobalAveragePooling2D(**first)(ka.layers.CBAM(2, **first, name="cbam")(x))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    path = ka.export.export_saved_model(model, tmp_path / "served", attention=True)
    served = tf.saved_model.load(path)
    answer = served.serve_bytes(tf.constant([WHOLE, WHOLE]))
    assert {name: tensor.shape for name, tensor in answer.items()} == {
        "predictions": (2, 3),
        "target_layer_attention": (2, 4, *SIDES),
        "cbam_attention": (2, 4, *SIDES),
    }
    gray = (RGB @ LUMA / 255).astype("float32")
    np.testing.assert_allclose(answer["predictions"][0], model(gray[None, None])[0], atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        served.serve_bytes(tf.constant([WHOLE, MALFORMED["words"]]))
    assert served.serve_bytes(tf.constant([WHOLE]))["predictions"].shape == (1, 3)


@pytest.mark.usefixtures("reloads_here")
def test_the_endpoint_for_files_can_be_left_out_and_asked_for(tmp_path):
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), dense(2)])
    path = ka.export.export_saved_model(model, tmp_path / "a", image_bytes=False)
    assert sorted(tf.saved_model.load(path).signatures) == ["serve", "serving_default"]
    sequences = keras.Sequential([keras.Input((4, 3)), dense(2)])
    with pytest.raises(ValueError, match="1 or 3 channels"):
        ka.export.export_saved_model(sequences, tmp_path / "b", image_bytes=True)
    path = ka.export.export_saved_model(sequences, tmp_path / "b")
    assert "serve_bytes" not in tf.saved_model.load(path).signatures
