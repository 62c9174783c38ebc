"""Recordings of human motion with a class each: the CMU motion capture database, or others.

Reference: Garg et al., SAN, which learns 8 gesture classes from 184 recordings of 62 sensors.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from keras_attention.datasets.acclaim import Skeleton, read_motion, read_skeleton
from keras_attention.datasets.digits import SPLIT_SEED, stratified_split
from keras_attention.datasets.folders import inside, needed_folder
from keras_attention.datasets.recordings import LAYOUT, Recording, find_recordings
from keras_attention.datasets.sequences import Scaling, pad, resample
from keras_attention.datasets.tables import Table, read_table
from keras_attention.utils.validation import one_of, positive_integer, share

SOURCE = "http://mocap.cs.cmu.edu"
FITS = {"resample": resample, "pad": pad}


def read_mocap(
    split: str,
    size: int = 128,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    fit: str = "resample",
    test_share: float = 0.2,
    classes: int = 8,
    sensors: int = 62,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one part of a folder of recordings, each of one class.

    The folder holds a folder for each class, with its recordings in it:

        walk/07_01.amc    or, of any sensors,    walk/07_01.csv
        jump/13_11.amc                           jump/13_11.csv

    Or it holds `labels.csv` with the columns `file` (a path in the folder), `class` and, if wanted,
    `split` (`train` or `test`). A motion `07_01.amc` needs its skeleton, `07.asf` or the only .asf,
    in its own folder or in that of the data set; its sensors are the skeleton's degrees of freedom.
    A CSV file has a line for each frame and a column for each sensor, and may name them first.

    Args:
        split: `"train"` or `"test"`.
        size: Frames of a sequence.
        train_size: Recordings for training, chosen by class in equal shares; None for all. The test
            part stays as it is, and so does what sensors are scaled by.
        data_dir: The folder; None for that of the environment variable `MOCAP_DIR`.
        fit: How recordings become `size` frames long: `"resample"` interpolates linearly from the
            first frame to the last, `"pad"` cuts the end off or adds zeros, which are the sensors'
            means.
        test_share: Of each class's recordings, one at least, where no index has a `split`.
        classes: How many the folder must hold; 8 as in the paper.
        sensors: How many a recording must have; 62 as CMU's skeletons.

    Returns:
        Float32 sequences `(N, size frames, sensors)`, each sensor of mean 0 and deviation 1 over
        all frames of the training part, and int64 labels `(N,)`: places in `mocap_classes`.

    Raises:
        ValueError: Without the folder, for options that cannot be, and for files that are not as
            they should be; names the file and the line.
    """
    one_of("fit", fit, tuple(FITS))
    held_out = share("test_share", test_share)
    folder = needed_folder("mocap", data_dir, LAYOUT, SOURCE)
    recordings = find_recordings(folder)
    labels = _labels(recordings, positive_integer("classes", classes))
    motions = _read_all(folder, recordings, positive_integer("sensors", sensors))
    for_test = _test_part(recordings, labels, held_out)
    scaling = Scaling.fit((), [motions[index] for index in np.flatnonzero(~for_test)])
    chosen = np.flatnonzero(for_test if split == "test" else ~for_test)
    if split == "train" and train_size is not None:
        chosen = chosen[stratified_split(labels[chosen], train_size)[0]]
    sequences = [FITS[fit](scaling.apply(motions[index]), size) for index in chosen]
    return np.stack(sequences), labels[chosen]


def mocap_classes(data_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """Lists the classes of a folder of recordings: label 0 is the first, in alphabetical order.

    Args:
        data_dir: The folder; None for that of the environment variable `MOCAP_DIR`.

    Raises:
        ValueError: Without the folder, or recordings in it.
    """
    folder = needed_folder("mocap", data_dir, LAYOUT, SOURCE)
    return sorted({recording.name for recording in find_recordings(folder)})


def _labels(recordings: Sequence[Recording], classes: int) -> np.ndarray:
    names, labels = np.unique([recording.name for recording in recordings], return_inverse=True)
    if len(names) != classes:
        raise ValueError(
            f"`classes` must be {len(names)}, as many as the folder holds: {', '.join(names)}. "
            f"Received: classes={classes}"
        )
    return labels.astype("int64")


def _test_part(
    recordings: Sequence[Recording], labels: np.ndarray, test_share: float
) -> np.ndarray:
    """Says of each recording whether it is for testing."""
    if recordings[0].split is not None:
        return np.array([recording.split == "test" for recording in recordings])
    for_test: np.ndarray = np.zeros(len(labels), bool)
    random = np.random.default_rng(SPLIT_SEED)
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        if len(places) < 2:
            raise ValueError(
                "Expected two recordings of each class, one for testing. "
                f"Received: {recordings[places[0]].name} with one"
            )
        for_test[places[: min(max(1, round(test_share * len(places))), len(places) - 1)]] = True
    return for_test


def _read_all(folder: Path, recordings: Sequence[Recording], sensors: int) -> list[np.ndarray]:
    skeleton_of = cache(read_skeleton)
    tables = [_read(folder, recording.path, skeleton_of) for recording in recordings]
    for recording, table in zip(recordings, tables, strict=True):
        if len(table.columns) != sensors or table.columns != tables[0].columns:
            raise ValueError(
                f"Expected {sensors} sensors (`sensors`) in {str(recording.path)!r}, named like "
                f"those of {str(recordings[0].path)!r}. Received: {len(table.columns)} sensors, "
                f"{', '.join(table.columns[:8])} ..."
            )
    return [table.values for table in tables]


def _read(folder: Path, path: Path, skeleton_of: Callable[[Path], Skeleton]) -> Table:
    if path.suffix.lower() == ".csv":
        return read_table(path)
    skeleton = skeleton_of(_skeleton_path(folder, path))
    return Table(skeleton.sensors, read_motion(path, skeleton))


def _skeleton_path(folder: Path, path: Path) -> Path:
    """The subject's skeleton, or the only one, beside a motion or in the data set's folder."""
    subject = path.stem.rpartition("_")[0]
    for place in (path.parent, folder):
        skeletons = sorted(place.glob("*.asf"))
        of_subject = [one for one in skeletons if one.stem == subject]
        if of_subject or len(skeletons) == 1:
            return inside(folder, (of_subject or skeletons)[0])
    raise ValueError(
        f"Expected {subject or 'SUBJECT'}.asf, or one .asf alone, beside {str(path)!r} or in "
        f"{str(folder)!r}. Received: neither"
    )
