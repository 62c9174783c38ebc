"""Brings sequences of measurements to one scale and one length."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scaling:
    """How columns of numbers are brought to mean 0 and deviation 1.

    Attributes:
        columns: Their names.
        mean: Float64 `(columns,)`.
        deviation: Float64 `(columns,)`, 1 where all numbers are the same.

    Example:
    >>> scaling = Scaling.fit(("ALT", "FF_1"), [np.array([[1.0, 5.0], [3.0, 5.0]])])
    >>> scaling.apply(np.array([[3.0, 6.0]])).tolist()
    [[1.0, 1.0]]
    >>> scaling.of("ALT")
    (2.0, 1.0)
    """

    columns: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def fit(cls, columns: tuple[str, ...], sequences: Iterable[np.ndarray]) -> "Scaling":
        """Measures the mean and deviation over all rows of `(rows, columns)` sequences."""
        rows = np.concatenate(list(sequences))
        # The mean of equal numbers need not come out as that number, nor their deviation as 0.
        constant = np.ptp(rows, axis=0) == 0
        mean = np.where(constant, rows[0], rows.mean(axis=0))
        return cls(columns, mean, np.where(constant, 1.0, rows.std(axis=0)))

    def apply(self, sequence: np.ndarray) -> np.ndarray:
        """Scales `(rows, columns)`; returns float32."""
        return ((sequence - self.mean) / self.deviation).astype("float32")

    def of(self, column: str) -> tuple[float, float]:
        """A column's mean and deviation, which lead back to its own unit."""
        place = self.columns.index(column)
        return float(self.mean[place]), float(self.deviation[place])


def resample(sequence: np.ndarray, steps: int) -> np.ndarray:
    """Reads a sequence at `steps` times from its first row to its last, interpolating linearly.

    Example:
    >>> resample(np.array([[0.0], [1.0], [2.0]]), 5)[:, 0].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    times, wanted = np.arange(len(sequence)), np.linspace(0, len(sequence) - 1, steps)
    columns = [np.interp(wanted, times, column) for column in sequence.T]
    return np.stack(columns, axis=1).astype(sequence.dtype)


def pad(sequence: np.ndarray, steps: int) -> np.ndarray:
    """Cuts a sequence after `steps` rows, or adds rows of zeros behind it.

    Example:
    >>> pad(np.array([[1.0], [2.0]]), 3)[:, 0].tolist()
    [1.0, 2.0, 0.0]
    """
    sequence = sequence[:steps]
    return np.pad(sequence, ((0, steps - len(sequence)), (0, 0)))
