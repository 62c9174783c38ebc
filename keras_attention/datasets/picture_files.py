"""Pictures that lie on disk as files of any type, one label each, and are read in every pass."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_attention.datasets.digits import stratified_split
from keras_attention.datasets.in_memory import indices

CHANNELS = 3


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """Pictures for `serve_stream`.

    Attributes:
        paths: Of the files, `(N,)`.
        labels: Int64, `(N,)`.
        size: Pixels along the sides of what is cut out of them.
        boxes: What they are cut to before everything else, left, top, right and bottom in pixels,
            right and bottom excluded: `(N, 4)`. None for whole pictures.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    size: int
    boxes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def chosen(self, places: np.ndarray) -> "PictureFiles":
        """Those at some places."""
        paths = tuple(self.paths[place] for place in places)
        boxes = None if self.boxes is None else self.boxes[places]
        return replace(self, paths=paths, labels=self.labels[places], boxes=boxes)

    def for_training(self, train_size: int | None) -> "PictureFiles":
        """Some of them, by class in equal shares and always the same ones; None for all.

        Raises:
            ValueError: For a `train_size` that leaves a class out.
        """
        if train_size is None:
            return self
        return self.chosen(stratified_split(self.labels, train_size)[0])

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Gives `(index, label)`."""
        labels = tf.constant(self.labels)
        return indices(len(self), seed, shuffle).map(lambda index: (index, labels[index]))

    def read(self, picture: tf.Tensor) -> tf.Tensor:
        """Reads the picture of an index: bytes `(H, W, 3)`."""
        pixels = tf.numpy_function(self.pixels, [picture], tf.uint8, stateful=False)
        pixels.set_shape((None, None, CHANNELS))
        return pixels

    def pixels(self, index: int) -> np.ndarray:
        """Reads a picture and cuts it to what of its box lies within: bytes `(H, W, 3)`.

        Raises:
            ValueError: For a file that is no whole picture, or a box beyond it; names the file.
        """
        from PIL import Image

        path = self.paths[index]
        try:
            with Image.open(path) as file:
                picture = file.convert("RGB")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"Expected a whole picture in {str(path)!r}. Received: {error}"
            ) from error
        if self.boxes is None:
            return np.asarray(picture)
        left, top, right, bottom = self.boxes[index].tolist()
        inside = (max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height))
        if inside[0] < inside[2] and inside[1] < inside[3]:
            return np.asarray(picture.crop(inside))
        raise ValueError(
            f"Expected a box inside the {picture.width}x{picture.height} pixels of {str(path)!r}. "
            f"Received: box={(left, top, right, bottom)}"
        )


def missing(paths: list[Path], root: Path, listed: str) -> None:
    """Checks that all files are there.

    Raises:
        ValueError: Where some are not; names the first.
    """
    gone = [path for path in paths if not path.is_file()]
    if gone:
        raise ValueError(
            f"Expected the pictures that {listed} of {str(root)!r} names. "
            f"Received: {len(gone)} of {len(paths)} are not there, such as {str(gone[0])!r}"
        )
