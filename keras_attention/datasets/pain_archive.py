"""The UNBC-McMaster Shoulder Pain Expression Archive, read from its published folder.

Reference: Lucey et al., Painful data (2011); Chitta, Targeted Kernel Networks (2018), section 4.1.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_attention.datasets.faces import Faces
from keras_attention.datasets.folders import all_inside, contents, folder_of, inside, variable_of
from keras_attention.datasets.subjects import choose_subjects, draw_frames
from keras_attention.utils.validation import non_negative_number

POINTS = 66
MOST_PAIN = 16
SOURCE = "https://www.jeffcohn.net/Resources/"
FRAMES, LANDMARKS, LABELS = "Images", "AAM_landmarks", "Frame_Labels/PSPI"
LAYOUT = (
    f"{FRAMES}/SUBJECT/SEQUENCE/FRAME.png, {LANDMARKS}/SUBJECT/SEQUENCE/FRAME_aam.txt and "
    f"{LABELS}/SUBJECT/SEQUENCE/FRAME_facs.txt"
)


@dataclass(frozen=True)
class Frames:
    """All frames of the archive.

    Attributes:
        paths: Of the pictures.
        landmarks: Float32 `(N, 66, 2)`, columns x and y in pixels.
        labels: Float32 `(N,)`, the pain's intensity (PSPI) from 0 to 16.
        subjects: Names `(N,)`.
    """

    paths: np.ndarray
    landmarks: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray


def read_pain_archive(
    split: str,
    size: int = 48,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    landmark_noise: float = 0.01,
    test_subjects: Sequence[str] | None = None,
) -> tuple[Faces, np.ndarray]:
    """Reads the landmarks and labels of one part, and where its pictures are.

    The archive's folder holds a frame's picture, its 66 landmarks (lines of x and y) and its pain
    intensity (one number, the PSPI), numbers in exponent notation:

        Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png
        AAM_landmarks/042-ll042/ll042t1aaaff/ll042t1aaaff001_aam.txt
        Frame_Labels/PSPI/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt

    Frames without landmarks or label are left out with a warning.

    Args:
        split: `"train"`, or `"test"` for the paper's validation part: other subjects.
        size: Pixels along the sides of the warped faces.
        train_size: Frames for training, drawn once at random; None for all.
        data_dir: The archive's folder; None for that of the environment variable
            `PAIN_ARCHIVE_DIR`.
        landmark_noise: Standard deviation of what is added to landmarks where faces are redrawn,
            as a share of the face's longer side. The paper calls it small.
        test_subjects: Names of the subjects for testing, such as `["042-ll042"]`. The paper does
            not name its seven: None for as many out of 25 whose frames come nearest to 30 %.

    Returns:
        The faces and their float32 labels `(N,)`.

    Raises:
        ValueError: Without the archive, or where its files are not as published.
    """
    noise = non_negative_number("landmark_noise", landmark_noise)
    frames = read_frames(_folder(data_dir))
    for_test = np.isin(frames.subjects, choose_subjects(frames.subjects, test_subjects))
    reference = frames.landmarks[~for_test]
    chosen = np.flatnonzero(for_test if split == "test" else ~for_test)
    if split == "train" and train_size is not None:
        chosen = draw_frames(chosen, train_size)
    faces = Faces.fit(
        frames.paths[chosen], frames.landmarks[chosen], reference, size=size, noise=noise
    )
    return faces, frames.labels[chosen]


def read_frames(folder: Path) -> Frames:
    """Reads what the archive says of every frame, the pictures themselves apart.

    Raises:
        ValueError: Where there is no frame, or a file is not as published.
    """
    paths, landmarks, labels, without = [], [], [], []
    found = sorted((folder / FRAMES).glob("*/*/*.png"))
    all_inside(folder, found)
    for path in found:
        of_frame = path.relative_to(folder / FRAMES).with_suffix("")
        points = folder / LANDMARKS / f"{of_frame}_aam.txt"
        label = folder / LABELS / f"{of_frame}_facs.txt"
        if not (points.is_file() and label.is_file()):
            without.append(path)
            continue
        paths.append(path)
        landmarks.append(_read_landmarks(inside(folder, points)))
        labels.append(_read_label(inside(folder, label)))
    if not paths:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}. Received: data_dir={str(folder)!r}, "
            f"{contents(folder)}, {len(without)} frames without landmarks or label"
        )
    if without:
        warnings.warn(
            f"{len(without)} of {len(paths) + len(without)} frames have no landmarks or no label "
            f"and are left out; the first is {str(without[0])!r}.",
            stacklevel=2,
        )
    return Frames(
        np.array([str(path) for path in paths]),
        np.array(landmarks, "float32"),
        np.array(labels, "float32"),
        np.array([path.parent.parent.name for path in paths]),
    )


def _folder(data_dir: str | os.PathLike[str] | None) -> Path:
    folder = folder_of("pain_archive", data_dir)
    if folder is None or not (folder / FRAMES).is_dir():
        received = "" if folder is None else f", {contents(folder)}"
        raise ValueError(
            f"`data_dir`, or the environment variable {variable_of('pain_archive')}, must name the "
            f"folder of the UNBC-McMaster Shoulder Pain Expression Archive, with {LAYOUT}. Its "
            f"owners give it to researchers who ask: {SOURCE}. "
            f"Received: data_dir={None if folder is None else str(folder)!r}{received}"
        )
    return folder


def _read_numbers(path: Path) -> np.ndarray:
    try:
        return np.array(path.read_text(encoding="ascii").split(), "float64")
    except ValueError:
        return np.full(1, np.nan)


def _read_landmarks(path: Path) -> np.ndarray:
    numbers = _read_numbers(path)
    if numbers.size != 2 * POINTS or not np.isfinite(numbers).all() or not np.ptp(numbers) > 0:
        raise ValueError(
            f"Expected {POINTS} lines of x and y in {str(path)!r}. "
            f"Received: {numbers.size} numbers, {np.isfinite(numbers).sum()} of them finite"
        )
    return numbers.reshape(POINTS, 2)


def _read_label(path: Path) -> float:
    numbers = _read_numbers(path)
    if numbers.size != 1 or not 0 <= numbers[0] <= MOST_PAIN:
        raise ValueError(
            f"Expected one number from 0 to {MOST_PAIN} in {str(path)!r}. "
            f"Received: {numbers.tolist()}"
        )
    return float(numbers[0])
