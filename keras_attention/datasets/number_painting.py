"""Paints numbers on photographs: what is drawn for each, and how it becomes pixels."""

from typing import TypeAlias

import numpy as np
import tensorflow as tf

from keras_attention.datasets.number_labels import LONGEST, NO_DIGIT

# Pixels along the sides of a digit before it is painted, and around a number for its plate.
CELL, MARGIN = 32, 8
# Of one to five digits, nearly as often as in SVHN.
SHARES = (0.2, 0.3, 0.3, 0.15, 0.05)
# Height of a number, the most it is wide, and the width of a digit by its height.
HEIGHTS, WIDEST, ASPECTS = (32.0, 48.0), 96.0, (0.6, 0.9)
# Each is drawn from 0 to 1.
CHOICES = (
    *("length", "photograph", "zoom", "top", "left", "contrast", "light"),
    *("scale", "height", "aspect", "slant", "turn", "row", "column"),
    *("plate", "shade", "difference", "polarity"),
    *(f"digit{place}" for place in range(LONGEST)),
)
Drawn = dict[str, tf.Tensor]
# Rows and columns, known or not before a picture is painted.
Size: TypeAlias = tf.Tensor | tuple[int, int]


def choices(drawn: tf.Tensor) -> Drawn:
    """Names what was drawn, `(B, choices)`."""
    return dict(zip(CHOICES, tf.unstack(drawn, axis=-1), strict=True))


def between(drawn: tf.Tensor, low: float | tf.Tensor, high: float | tf.Tensor) -> tf.Tensor:
    """Brings what was drawn from 0 to 1 to another range."""
    return low + drawn * (high - low)


def choose_digits(drawn: Drawn, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Chooses how many digits a number has, and which.

    Args:
        drawn: Of `choices`, `(B,)` each.
        labels: Of the digits there are, int64 `(N,)`.

    Returns:
        Lengths `(B,)`, places of the digits among the `N`, `(B, 5)`, and labels as of `label_of`,
        int64 `(B, 6)`.
    """
    borders = np.cumsum(SHARES)[:-1]
    length = 1 + tf.reduce_sum(tf.cast(drawn["length"][:, None] >= borders, tf.int32), axis=1)
    digits = tf.stack([drawn[f"digit{place}"] for place in range(LONGEST)], axis=1)
    count = len(labels)
    places = tf.minimum(tf.cast(digits * count, tf.int32), count - 1)
    there = tf.range(LONGEST) < length[:, None]
    shown = tf.where(there, tf.gather(labels, places), NO_DIGIT)
    return length, places, tf.concat([tf.cast(length[:, None] - 1, tf.int64), shown], axis=1)


def strips(digits: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Puts digits side by side, and a plate behind them.

    Args:
        digits: `(B, 5, CELL, CELL)`.
        length: How many of them count, `(B,)`.

    Returns:
        How much of ink and of plate is where, `(B, CELL + 2 MARGIN, 5 CELL + 2 MARGIN, 2)`.
    """
    row = tf.reshape(tf.transpose(digits, (0, 2, 1, 3)), (-1, CELL, LONGEST * CELL))
    end = CELL * length[:, None, None]
    ink = tf.where(tf.range(LONGEST * CELL) < end, row, 0.0)
    ink = tf.pad(ink, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    inner = np.arange(CELL + 2 * MARGIN)[:, None]
    columns = np.arange(LONGEST * CELL + 2 * MARGIN)
    plate = (columns > 0) & (columns < end + 2 * MARGIN - 1)
    plate &= (inner > 0) & (inner < CELL + 2 * MARGIN - 1)
    return tf.stack([ink, tf.cast(plate, tf.float32)], axis=-1)


def transforms(drawn: Drawn, length: tf.Tensor, size: Size, *, whole: bool) -> tf.Tensor:
    """Decides how large the numbers are, how they lean, and where they are.

    Args:
        drawn: Of `choices`, `(B,)` each.
        length: Digits of the numbers, `(B,)`.
        size: Rows and columns of the pictures, `(2,)`.
        whole: Whether they are anywhere and of more sizes; else nearly in the middle.

    Returns:
        For each the transform from the pictures' columns and rows to those of `strips`, `(B, 8)`,
        as `project` takes it.
    """
    rows, columns = tf.unstack(tf.cast(size, tf.float32))
    scale = tf.ones_like(drawn["scale"])
    if whole:
        # The smallest pictures leave no room for the largest numbers.
        most = tf.minimum(columns / (WIDEST + 14), rows / (HEIGHTS[1] + 10))
        scale = tf.minimum(between(drawn["scale"], 0.9, 1.3), most)
    height = scale * between(drawn["height"], *HEIGHTS)
    count = tf.cast(length, tf.float32)
    width = tf.minimum(height * count * between(drawn["aspect"], *ASPECTS), scale * WIDEST)
    slant, turn = between(drawn["slant"], -0.15, 0.15), between(drawn["turn"], -0.07, 0.07)
    if whole:
        beside = (width + (tf.abs(slant) + tf.abs(turn)) * height) / 2
        above = (height + tf.abs(turn) * width) / 2
        x = between(drawn["column"], beside, columns - beside)
        y = between(drawn["row"], above, rows - above)
    else:
        x = columns / 2 + between(drawn["column"], -11.0, 11.0)
        y = rows / 2 + between(drawn["row"], -7.0, 7.0)
    across, down = CELL * count / width, CELL / height
    cos, sin = tf.cos(turn), tf.sin(turn)
    a, b = across * (cos - slant * sin), across * (sin + slant * cos)
    c, d = -down * sin, down * cos
    middle_x, middle_y = MARGIN + CELL * count / 2 - 0.5, MARGIN + CELL / 2 - 0.5
    x, y, zero = x - 0.5, y - 0.5, tf.zeros_like(a)
    rows_of = [a, b, middle_x - a * x - b * y, c, d, middle_y - c * x - d * y, zero, zero]
    return tf.stack(rows_of, axis=1)


def grounds(drawn: Drawn, photographs: tf.Tensor, size: Size) -> tf.Tensor:
    """Cuts grounds out of photographs, at several scales: `(B, rows, columns, 1)` in `[0, 1]`."""
    count, *sides = photographs.shape[:3]
    zoom = between(drawn["zoom"], 0.5, 1.25)
    chosen = tf.minimum(tf.cast(drawn["photograph"] * count, tf.int32), count - 1)
    # Of the last pixel, as the corners of `crop_and_resize`.
    shares = [zoom * tf.cast(size[axis] - 1, tf.float32) / (sides[axis] - 1) for axis in range(2)]
    first = [drawn[name] * (1 - part) for name, part in zip(("top", "left"), shares, strict=True)]
    boxes = tf.stack([*first, *(one + part for one, part in zip(first, shares, strict=True))], 1)
    cut = tf.image.crop_and_resize(photographs, boxes, chosen, size)
    contrast, light = between(drawn["contrast"], 0.4, 0.9), between(drawn["light"], -0.15, 0.15)
    return tf.clip_by_value(_wide(contrast) * (cut - 0.5) + 0.5 + _wide(light), 0.0, 1.0)


def paint(drawn: Drawn, ground: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Paints plates and ink on grounds, brighter or darker than what is behind them.

    Args:
        drawn: Of `choices`, `(B,)` each.
        ground: `(B, rows, columns, 1)` in `[0, 1]`.
        masks: How much of ink and of plate is where, `(B, rows, columns, 2)`.

    Returns:
        Pictures `(B, rows, columns, 1)` in `[0, 1]`.
    """
    ink, plate = masks[..., :1], masks[..., 1:]
    # Half of the numbers have a plate.
    cover = tf.maximum(0.0, between(drawn["plate"], -0.9, 0.9))
    shade = _mean(ground, plate) + _wide(between(drawn["shade"], -0.25, 0.25))
    ground += plate * _wide(cover) * (tf.clip_by_value(shade, 0.0, 1.0) - ground)
    behind = _mean(ground, plate)
    difference = between(drawn["difference"], 0.35, 0.85)
    sign = tf.where(drawn["polarity"] < 0.5, -1.0, 1.0)
    # Where there is no room for that, the ink is of the other kind.
    room = tf.where(sign > 0, 1 - behind[:, 0, 0, 0], behind[:, 0, 0, 0])
    sign = tf.where(room < 0.3, -sign, sign)
    color = tf.clip_by_value(behind + _wide(sign * difference), 0.0, 1.0)
    return tf.clip_by_value(ground + ink * (color - ground), 0.0, 1.0)


def project(images: tf.Tensor, transforms: tf.Tensor, size: Size) -> tf.Tensor:
    """Moves images as the transforms say, zeros outside: `(B, rows, columns, channels)`."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _wide(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


def _mean(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    axes = (1, 2, 3)
    total = tf.reduce_sum(weights, axes, keepdims=True)
    return tf.reduce_sum(images * weights, axes, keepdims=True) / tf.maximum(total, 1.0)
