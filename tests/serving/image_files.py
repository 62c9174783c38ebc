"""Image files of every kind, written by another library than TensorFlow."""

import io

import numpy as np
from PIL import Image

SIZE = (9, 7)


def colors(size=SIZE, seed=0):
    """A smooth uint8 image `(H, W, 3)`, which JPEG changes little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR))


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(pixels):
    return encoded(Image.fromarray(pixels))
