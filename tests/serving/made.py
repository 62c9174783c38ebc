"""Pictures as files of every kind, by a library that is not TensorFlow."""

import io

import numpy as np
from PIL import Image

SIDES = (9, 7)


def colors(sides=SIDES, seed=0):
    """Smooth bytes `(H, W, 3)`, which JPEG changes little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(sides[::-1], Image.Resampling.BILINEAR))


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(pixels):
    return encoded(Image.fromarray(pixels))
