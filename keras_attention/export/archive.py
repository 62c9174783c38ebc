"""What a SavedModel answers: its endpoints."""

import os
from typing import Any

import keras
import tensorflow as tf

from keras_attention.export.pictures import Shape, reader, takes_channels_first

SERVE, SERVE_BYTES = "serve", "serve_bytes"
# TensorFlow Serving takes base64 in JSON where a name ends like this.
IMAGE_BYTES = "image_bytes"


def write_archive(
    model: keras.Model,
    inputs: Any,
    folder: str | os.PathLike[str],
    picture: Shape | None,
) -> None:
    """Writes a SavedModel with the endpoint of a model, and one for files of pictures.

    Args:
        model: A functional or sequential model.
        inputs: Its inputs as Keras tensors, in the structure that it takes; clients call them by
            their names.
        folder: To make.
        picture: Height, width and channels of the model's input; None for no second endpoint.
    """
    archive = keras.export.ExportArchive()
    serve = archive.track_and_add_endpoint(SERVE, model, [inputs])
    if picture is not None:
        read = reader(picture, takes_channels_first(model))
        dtype = keras.tree.flatten(inputs)[0].dtype

        def serve_bytes(image_bytes: tf.Tensor) -> Any:
            with tf.device("cpu"):  # no other device decodes
                pictures = tf.cast(read(image_bytes), dtype)
            return serve(pictures)

        files = tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES)
        traced = tf.function(serve_bytes, input_signature=[files], autograph=False)
        traced.get_concrete_function()
        archive.add_endpoint(SERVE_BYTES, traced)
    archive.write_out(str(folder), verbose=False)
