"""Splits frames of videos by the person that they show, so that no face is in both parts."""

from collections.abc import Iterable

import numpy as np

from keras_attention.utils.validation import is_integer

TEST_SHARE = 0.2


SPLIT_SEED = 0


# Chitta, Targeted Kernel Networks (2018), section 4.1: 7 of 25 subjects, about 30 % of the frames.
TEST_SUBJECTS, SUBJECTS = 7, 25
SUBJECT_TEST_SHARE = 0.3
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
    wanted_frames = SUBJECT_TEST_SHARE * counts.sum()
    best = min(draws, key=lambda draw: abs(counts[draw].sum() - wanted_frames))
    return sorted(names[best].tolist())


def draw_examples(chosen: np.ndarray, train_size: int) -> np.ndarray:
    """Draws some of the frames, always the same ones, and keeps their order.

    Raises:
        ValueError: For a `train_size` beyond their number.

    Example:
    >>> len(draw_examples(np.arange(10), 4))
    4
    """
    if not is_integer(train_size) or not 1 <= train_size <= len(chosen):
        raise ValueError(
            f"`train_size` must be an integer from 1 to {len(chosen)}. "
            f"Received: train_size={train_size!r}"
        )
    random = np.random.default_rng(SPLIT_SEED)
    return np.sort(random.choice(chosen, int(train_size), replace=False))


def stratified_split(labels: np.ndarray, train_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices into training and test ones with every class in equal shares.

    Args:
        labels: Shape `(N,)`.
        train_size: How many are for training; None for four fifths.

    Returns:
        The indices of either part.

    Raises:
        ValueError: For a `train_size` that leaves a class out of either part.
    """
    from sklearn.model_selection import train_test_split

    classes = len(np.unique(labels))
    if train_size is None:
        train_size = len(labels) - int(len(labels) * TEST_SHARE)
    most = len(labels) - classes
    if not is_integer(train_size) or not classes <= train_size <= most:
        raise ValueError(
            f"`train_size` must be an integer from {classes} to {most}, so that both parts hold "
            f"every class. Received: train_size={train_size!r}"
        )
    train, test = train_test_split(
        np.arange(len(labels)),
        train_size=int(train_size),
        random_state=SPLIT_SEED,
        stratify=labels,
    )
    return train, test
