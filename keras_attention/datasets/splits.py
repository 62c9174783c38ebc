"""Deterministic training and test splits: stratified by class, by subject, and random subsets."""

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
    """Chooses the test subjects, given the subject of each frame: `wanted`, if it is not None.

    Otherwise 7 of 25 subjects are drawn 1,000 times, always the same; the draw whose share of the
    frames is closest to 30 % is kept.

    Example:
    >>> choose_subjects(np.repeat(["ann", "ben", "cleo", "dan"], [50, 30, 10, 10]))
    ['ben']
    """
    names, counts = np.unique(subjects, return_counts=True)
    if wanted is not None:
        chosen = [wanted] if isinstance(wanted, str) else list(wanted)
        if not chosen or not set(chosen) < set(names.tolist()):
            raise ValueError(
                f"`test_subjects` must be a proper subset of {', '.join(names)}. "
                f"Received: test_subjects={wanted!r}"
            )
        return chosen
    if len(names) < 2:
        raise ValueError(
            "`data_dir` must contain at least two subjects, one of them for testing. "
            f"Received: {', '.join(names)}"
        )
    many = max(1, round(len(names) * TEST_SUBJECTS / SUBJECTS))
    random = np.random.default_rng(SPLIT_SEED)
    draws = [random.permutation(len(names))[:many] for _ in range(DRAWS)]
    wanted_frames = SUBJECT_TEST_SHARE * counts.sum()
    best = min(draws, key=lambda draw: abs(counts[draw].sum() - wanted_frames))
    return sorted(names[best].tolist())


def held_out_count(test_share: float, count: int) -> int:
    """Returns a number of test examples: at least one, and at least one less than all."""
    return min(max(1, round(test_share * count)), count - 1)


def draw_examples(chosen: np.ndarray, train_size: int) -> np.ndarray:
    """Draws a deterministic random subset of indices and keeps their order.

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
    """Splits indices into training and test indices with equal class proportions.

    `train_size` is the number of training examples; None uses 80 %.
    """
    from sklearn.model_selection import train_test_split

    classes = len(np.unique(labels))
    if train_size is None:
        train_size = len(labels) - int(len(labels) * TEST_SHARE)
    most = len(labels) - classes
    if not is_integer(train_size) or not classes <= train_size <= most:
        raise ValueError(
            f"`train_size` must be an integer from {classes} to {most}, so that both splits have "
            f"every class. Received: train_size={train_size!r}"
        )
    train, test = train_test_split(
        np.arange(len(labels)),
        train_size=int(train_size),
        random_state=SPLIT_SEED,
        stratify=labels,
    )
    return train, test
