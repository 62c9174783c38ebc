"""Pipelines of windows that are cut out of long records: steps that are past, then their label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_attention.datasets.in_memory import indices


@dataclass(frozen=True)
class Windows:
    """Windows into records, which overlap, so that they are cut out when they are asked for.

    Attributes:
        rows: Float32 `(rows, units)`, of one record after the other.
        starts: Int64 `(N,)`, the first row of each window.
        size: Rows of a window.
    """

    rows: np.ndarray
    starts: np.ndarray
    size: int

    @classmethod
    def cut(cls, records: Sequence[np.ndarray], size: int, ahead: int) -> "Windows":
        """Cuts every window of `size` rows that has `ahead` rows of its own record behind it.

        Example:
        >>> Windows.cut([np.zeros((5, 2)), np.zeros((4, 2))], size=2, ahead=1).starts.tolist()
        [0, 1, 2, 5, 6]
        """
        counts = [len(record) - size - ahead + 1 for record in records]
        firsts = np.cumsum([0, *map(len, records)])
        starts = [first + np.arange(count) for first, count in zip(firsts, counts, strict=False)]
        return cls(np.concatenate(records), np.concatenate(starts).astype("int64"), size)

    def __len__(self) -> int:
        return len(self.starts)

    def following(self, column: np.ndarray, ahead: int) -> np.ndarray:
        """The `ahead` entries behind each window of a `(rows,)` column: `(N, ahead)`."""
        return column[self.starts[:, None] + self.size + np.arange(ahead)]

    def take(self, chosen: np.ndarray) -> "Windows":
        """Some of the windows."""
        return Windows(self.rows, self.starts[chosen], self.size)


def serve_windows(
    windows: Windows,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    redraw: bool = False,
) -> tf.data.Dataset:
    """Serves windows as they are.

    Args:
        windows: Where they are.
        labels: `(N, ...)`.
        seed: Of the order.
        shuffle: Whether every pass has an order of its own.
        redraw: Of no effect: nothing is drawn here.

    Returns:
        A data set of `(window, label)` with float32 windows `(size, units)`.
    """
    size, units = windows.size, windows.rows.shape[1]
    rows, starts, targets = map(tf.constant, (windows.rows, windows.starts, labels))

    def cut(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.slice(rows, [starts[index], 0], [size, units]), targets[index]

    order = indices(len(windows), seed, shuffle)
    return order.map(cut, num_parallel_calls=tf.data.AUTOTUNE)
