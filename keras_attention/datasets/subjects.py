"""Splits frames of videos by the person that they show, so that no face is in both parts."""

from collections.abc import Iterable

import numpy as np

from keras_attention.datasets.digits import SPLIT_SEED
from keras_attention.utils.validation import is_integer

# Chitta, Targeted Kernel Networks (2018), section 4.1: 7 of 25 subjects, about 30 % of the frames.
TEST_SUBJECTS, SUBJECTS = 7, 25
TEST_SHARE = 0.3
DRAWS = 1000


def choose_subjects(subjects: np.ndarray, wanted: Iterable[str] | None = None) -> list[str]:
    """Chooses the subjects for testing, always the same ones.

    Args:
        subjects: The name of each frame's subject.
        wanted: Their names; None for 7 of 25, of 1,000 drawn sevens that which has nearest to
            30 % of the frames.

    Raises:
        ValueError: For names that are not there, or that leave no subject for training.

    Example:
    >>> choose_subjects(np.repeat(["ann", "ben", "cleo", "dan"], [50, 30, 10, 10]))
    ['ben']
    """
    names, counts = np.unique(subjects, return_counts=True)
    if wanted is not None:
        chosen = [wanted] if isinstance(wanted, str) else list(wanted)
        if not chosen or not set(chosen) < set(names.tolist()):
            raise ValueError(
                f"`test_subjects` must be some, not all, of {', '.join(names)}. "
                f"Received: test_subjects={wanted!r}"
            )
        return chosen
    if len(names) < 2:
        raise ValueError(
            "`data_dir` must hold two subjects at least, one for testing. "
            f"Received: {', '.join(names)}"
        )
    many = max(1, round(len(names) * TEST_SUBJECTS / SUBJECTS))
    random = np.random.default_rng(SPLIT_SEED)
    draws = [random.permutation(len(names))[:many] for _ in range(DRAWS)]
    wanted_frames = TEST_SHARE * counts.sum()
    best = min(draws, key=lambda draw: abs(counts[draw].sum() - wanted_frames))
    return sorted(names[best].tolist())


def draw_frames(chosen: np.ndarray, train_size: int) -> np.ndarray:
    """Draws some of the frames, always the same ones, and keeps their order.

    Raises:
        ValueError: For a `train_size` beyond their number.

    Example:
    >>> len(draw_frames(np.arange(10), 4))
    4
    """
    if not is_integer(train_size) or not 1 <= train_size <= len(chosen):
        raise ValueError(
            f"`train_size` must be an integer from 1 to {len(chosen)}. "
            f"Received: train_size={train_size!r}"
        )
    random = np.random.default_rng(SPLIT_SEED)
    return np.sort(random.choice(chosen, int(train_size), replace=False))
