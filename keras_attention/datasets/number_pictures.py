"""Pipelines of gray pictures of numbers that are read from disk in every pass."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_attention.datasets.in_memory import indices
from keras_attention.datasets.png_files import png_sides, read_gray


@dataclass(frozen=True, eq=False)
class NumberPictures:
    """Pictures of numbers, whole or as crops.

    Attributes:
        paths: Of the PNG files, `(N,)`.
        labels: Int64, `(N, 6)`, as of `label_of`.
        sides: Rows and columns that pictures are brought to before a crop is cut out.
        crop: Rows and columns of a crop; None for all of `sides`.
        sizes: Rows and columns of every whole picture, `(N, 2)`; None for crops.
        batching: Of whole pictures, `"bucketed"` or `"ragged"`.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    sides: tuple[int, int]
    crop: tuple[int, int] | None
    sizes: np.ndarray | None = None
    batching: str = "bucketed"

    def __len__(self) -> int:
        return len(self.paths)

    def chosen(self, places: np.ndarray) -> "NumberPictures":
        """Those at some places."""
        return replace(
            self,
            paths=tuple(self.paths[place] for place in places),
            labels=self.labels[places],
            sizes=None if self.sizes is None else self.sizes[places],
        )

    def whole(self, smallest: tuple[int, int] | None) -> "NumberPictures":
        """The same in their own sizes, enlarged where they are smaller than `smallest`."""
        sizes = np.array([png_sides(path) for path in self.paths], "int32").reshape(-1, 2)
        if smallest is not None:
            factors = np.maximum(1, np.max(np.array(smallest) / sizes, axis=1, keepdims=True))
            sizes = np.round(sizes * factors).astype("int32")
        return replace(self, sizes=sizes)

    def singles(self, *, seed: int, shuffle: bool, redraw: bool) -> tf.data.Dataset:
        """Gives `(image, label)`; `redraw` cuts crops out anywhere, else out of the middle."""
        paths, labels = self._tables()
        order = indices(len(self), seed, shuffle)
        if self.sizes is not None:
            sizes = tf.constant(self.sizes)
            return order.map(
                lambda place: (_in_size(paths[place], sizes[place]), labels[place]),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
        return tf.data.Dataset.zip(order, draws).map(
            lambda place, draw: (self._crop(paths[place], draw, redraw), labels[place]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def together(self, places: tf.data.Dataset, *, seed: int, redraw: bool) -> tf.data.Dataset:
        """Gives whole pictures of the same size for places `(B,)`; nothing is drawn."""
        paths, labels = self._tables()
        sizes = tf.constant(self.sizes)

        def read(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images = tf.map_fn(
                lambda place: _in_size(paths[place], sizes[place]),
                batch,
                fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32),
            )
            return images, tf.gather(labels, batch)

        return places.map(read, num_parallel_calls=tf.data.AUTOTUNE)

    def _tables(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant([os.fsencode(path) for path in self.paths]), tf.constant(self.labels)

    def _crop(self, path: tf.Tensor, draw: tf.Tensor, anywhere: bool) -> tf.Tensor:
        picture = tf.image.resize(read_gray(path), self.sides, antialias=True)
        shape = (*(self.crop or self.sides), 1)
        if anywhere:
            return tf.image.stateless_random_crop(picture, shape, (draw, 0))
        corner = [(side - cut) // 2 for side, cut in zip(self.sides, shape, strict=False)]
        return tf.slice(picture, [*corner, 0], shape)


def _in_size(path: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    picture = read_gray(path)
    return tf.cond(
        tf.reduce_all(tf.shape(picture)[:2] == size),
        lambda: picture,
        lambda: tf.image.resize(picture, size),
    )
