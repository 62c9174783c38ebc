"""Labeled recordings of human motion, such as the CMU motion capture database.

Reference: Garg et al., SAN (8 gesture classes, 184 recordings of 62 sensors).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from keras_attention.datasets.folders import (
    check_inside,
    describe_folder,
    line_error,
    require_folder,
)
from keras_attention.datasets.sequences import (
    Row,
    Scaling,
    Table,
    pad,
    parse_finite,
    read_rows,
    read_table,
    resample,
)
from keras_attention.datasets.splits import SPLIT_SEED, held_out_count, stratified_split
from keras_attention.utils.validation import fraction, one_of, positive_integer

SOURCE = "http://mocap.cs.cmu.edu"
FITS = {"resample": resample, "pad": pad}
DEGREES_OF_FREEDOM = ("tx", "ty", "tz", "rx", "ry", "rz", "l")
HEADER = {":fully-specified", ":degrees"}
# Line number in the file, and the words.
Line = tuple[int, list[str]]
INDEX = "labels.csv"
COLUMNS = ("file", "class", "split")
SPLITS = ("train", "test")
SUFFIXES = (".amc", ".csv")
LAYOUT = (
    "recordings as CLASS/NAME.amc or CLASS/NAME.csv, or with labels.csv, whose columns are file, "
    "class and, optionally, split"
)


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
    """Reads one split of a folder of labeled recordings.

    The folder contains a folder of recordings for each class:

        walk/07_01.amc    or, for any sensors,   walk/07_01.csv
        jump/13_11.amc                           jump/13_11.csv

    Or it contains `labels.csv` with the columns `file` (a path in the folder), `class` and,
    optionally, `split` (`train` or `test`). A motion `07_01.amc` needs its skeleton, `07.asf` or
    the only .asf file, in its own folder or in that of the data set. Its sensors are the skeleton's
    degrees of freedom. A CSV file has a line per frame, a column per sensor and an optional header.

    Args:
        split: `"train"` or `"test"`.
        size: Number of frames of a sequence.
        train_size: Number of training recordings, drawn with equal class proportions; None uses
            all. It changes neither the test split nor the scaling of the sensors.
        data_dir: The folder; None uses the environment variable `MOCAP_DIR`.
        fit: Method that brings recordings to `size` frames: `"resample"` interpolates linearly,
            `"pad"` truncates or appends zeros (the means of the sensors).
        test_share: Fraction of the recordings of each class for testing, at least one; ignored if
            `labels.csv` has a `split` column.
        classes: Required number of classes; 8 as in the paper.
        sensors: Required number of sensors; 62 as in CMU's skeletons.

    Returns:
        Float32 sequences `(N, size, sensors)`, with mean 0 and deviation 1 of each sensor over all
        training frames, and int64 labels `(N,)`: indices into `mocap_classes`.

    Raises:
        ValueError: If the folder is not set, an option is invalid, or a file is malformed; names
            the file and the line.
    """
    one_of("fit", fit, tuple(FITS))
    held_out = fraction("test_share", test_share)
    folder = require_folder("mocap", data_dir, LAYOUT, SOURCE)
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
    """Lists the classes of a folder of recordings in alphabetical order, which is label order.

    Args:
        data_dir: The folder; None uses the environment variable `MOCAP_DIR`.

    Raises:
        ValueError: If the folder is not set or has no recordings.
    """
    folder = require_folder("mocap", data_dir, LAYOUT, SOURCE)
    return sorted({recording.name for recording in find_recordings(folder)})


def _labels(recordings: Sequence[Recording], classes: int) -> np.ndarray:
    names, labels = np.unique([recording.name for recording in recordings], return_inverse=True)
    if len(names) != classes:
        raise ValueError(
            f"`classes` must be {len(names)}, the classes of the folder: {', '.join(names)}. "
            f"Received: classes={classes}"
        )
    return labels.astype("int64")


def _test_part(
    recordings: Sequence[Recording], labels: np.ndarray, test_share: float
) -> np.ndarray:
    """Returns a boolean mask of the test recordings."""
    if recordings[0].split is not None:
        return np.array([recording.split == "test" for recording in recordings])
    for_test: np.ndarray = np.zeros(len(labels), bool)
    random = np.random.default_rng(SPLIT_SEED)
    for label in np.unique(labels):
        candidates = random.permutation(np.flatnonzero(labels == label))
        if len(candidates) < 2:
            raise ValueError(
                "Expected at least two recordings per class, one of them for testing. "
                f"Received: class {recordings[candidates[0]].name} with one recording"
            )
        for_test[candidates[: held_out_count(test_share, len(candidates))]] = True
    return for_test


def _read_all(folder: Path, recordings: Sequence[Recording], sensors: int) -> list[np.ndarray]:
    skeleton_of = cache(read_skeleton)
    tables = [_read(folder, recording.path, skeleton_of) for recording in recordings]
    for recording, table in zip(recordings, tables, strict=True):
        if len(table.columns) != sensors or table.columns != tables[0].columns:
            raise ValueError(
                f"Expected {sensors} sensors (`sensors`) in {str(recording.path)!r}, named like "
                f"those of {str(recordings[0].path)!r}. "
                f"Received: {len(table.columns)} sensors, {', '.join(table.columns[:8])} ..."
            )
    return [table.values for table in tables]


def _read(folder: Path, path: Path, skeleton_of: Callable[[Path], Skeleton]) -> Table:
    if path.suffix.lower() == ".csv":
        return read_table(path)
    skeleton = skeleton_of(_skeleton_path(folder, path))
    return Table(skeleton.sensors, read_motion(path, skeleton))


def _skeleton_path(folder: Path, path: Path) -> Path:
    """Finds the subject's skeleton, or the only one, near the motion or in the data set folder."""
    subject = path.stem.rpartition("_")[0]
    for location in (path.parent, folder):
        skeletons = sorted(location.glob("*.asf"))
        matching = [one for one in skeletons if one.stem == subject]
        if matching or len(skeletons) == 1:
            return check_inside(folder, (matching or skeletons)[0])
    raise ValueError(
        f"Expected {subject or 'SUBJECT'}.asf, or a single .asf file, next to {str(path)!r} or in "
        f"{str(folder)!r}. Received: neither"
    )


@dataclass(frozen=True)
class Skeleton:
    """Moving bones of a skeleton (.asf), the root first, with degrees of freedom as `"rx"`."""

    bones: dict[str, tuple[str, ...]]

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names `"bone.dof"` of the degrees of freedom, the columns of `read_motion`."""
        return tuple(f"{bone}.{freedom}" for bone, all_ in self.bones.items() for freedom in all_)


def read_skeleton(path: Path) -> Skeleton:
    """Reads the moving bones of a skeleton from an .asf file."""
    sections: dict[str, list[Line]] = {}
    for line, words in _split_lines(path):
        if words[0].startswith(":"):
            section = sections.setdefault(words[0].lower(), [])
        elif sections:
            section.append((line, words))
    bones = {"root": _root_freedoms(path, sections.get(":root", []))}
    for line, facts in _bone_blocks(path, sections.get(":bonedata", [])):
        name = " ".join(facts.get("name", []))
        if not name or name in bones:
            raise line_error(path, line, "a bone with a name of its own", name or "no name")
        bones[name] = _freedoms(path, line, facts.get("dof", []))
    if len(bones) == 1:
        raise ValueError(f"Expected :bonedata with bones in {str(path)!r}. Received: none")
    return Skeleton({name: freedoms for name, freedoms in bones.items() if freedoms})


def read_motion(path: Path, skeleton: Skeleton) -> np.ndarray:
    """Reads a motion from an .amc file: `(frames, degrees of freedom)`, angles in degrees."""
    frames = _motion_frames(path)
    numbers = [line_and_words[1][0] for line_and_words, _ in frames]
    first = int(numbers[0]) if numbers[0].isdigit() else 1
    for index, ((line, words), _) in enumerate(frames):
        if words != [str(first + index)]:
            raise line_error(path, line, f"frame {first + index}", words[0])
    return np.array([_motion_frame(path, number, bones, skeleton) for number, bones in frames])


def _motion_frames(path: Path) -> list[tuple[Line, list[Line]]]:
    """Splits a motion into frames: the line with the frame number, and the lines of the bones."""
    lines = list(_split_lines(path))
    header = list(itertools.takewhile(lambda line: line[1][0].startswith(":"), lines))
    received = " ".join(words[0] for _, words in header) or "no header"
    if {words[0].lower() for _, words in header} != HEADER or len(lines) == len(header):
        raise ValueError(
            f"Expected :FULLY-SPECIFIED, :DEGREES and then frames in {str(path)!r}. "
            f"Received: {received}, {len(lines) - len(header)} lines after it"
        )
    frames: list[tuple[Line, list[Line]]] = []
    for line, words in lines[len(header) :]:
        if len(words) == 1:
            frames.append(((line, words), []))
        elif frames:
            frames[-1][1].append((line, words))
        else:
            raise line_error(path, line, "the number of a frame", " ".join(words))
    return frames


def _motion_frame(path: Path, number: Line, rows: list[Line], skeleton: Skeleton) -> list[float]:
    bones: dict[str, list[float]] = {}
    for line, words in rows:
        name, freedoms = words[0], skeleton.bones.get(words[0], ())
        if not freedoms or name in bones:
            raise line_error(path, line, "each moving bone of the skeleton once a frame", name)
        bones[name] = parse_finite(path, line, words[1:])
        if len(bones[name]) != len(freedoms):
            wanted = f"{name} with {' '.join(freedoms)}"
            raise line_error(path, line, wanted, f"{len(bones[name])} numbers")
    missing = [name for name in skeleton.bones if name not in bones]
    if missing:
        raise line_error(path, number[0], "a frame with all bones", f"none of {', '.join(missing)}")
    return [value for name in skeleton.bones for value in bones[name]]


def _root_freedoms(path: Path, lines: list[Line]) -> tuple[str, ...]:
    for line, words in lines:
        if words[0].lower() == "order":
            return _freedoms(path, line, words[1:])
    raise ValueError(f"Expected :root with its order in {str(path)!r}. Received: none")


def _bone_blocks(path: Path, lines: list[Line]) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """Yields the entries between each begin and end, by keyword."""
    begun = 0
    facts: dict[str, list[str]] = {}
    for line, (keyword, *words) in lines:
        if (keyword == "begin" and begun) or (keyword != "begin" and not begun):
            raise line_error(path, line, "bones from begin to end", keyword)
        if keyword == "begin":
            begun, facts = line, {}
        elif keyword == "end":
            yield begun, facts
            begun = 0
        else:
            facts[keyword.lower()] = words
    if begun:
        raise line_error(path, begun, "an end for the bone", "none")


def _freedoms(path: Path, line: int, words: list[str]) -> tuple[str, ...]:
    freedoms = tuple(word.lower() for word in words)
    if not set(freedoms) <= set(DEGREES_OF_FREEDOM) or len(set(freedoms)) < len(freedoms):
        raise line_error(
            path, line, f"some of {' '.join(DEGREES_OF_FREEDOM)}, each once", " ".join(words)
        )
    return freedoms


def _split_lines(path: Path) -> Iterator[Line]:
    """Yields the words of each line, without comments and empty lines."""
    # Names may have any encoding; Latin-1 decodes every byte.
    with path.open(encoding="latin-1") as file:
        for line, text in enumerate(file, start=1):
            words = text.split()
            if words and not words[0].startswith("#"):
                yield line, words


@dataclass(frozen=True)
class Recording:
    """A recording and the name of its class; `split` is None if it is not specified."""

    path: Path
    name: str
    split: str | None = None


def find_recordings(folder: Path) -> list[Recording]:
    """Lists the recordings of a folder in a fixed order."""
    index = folder / INDEX
    if index.is_file():
        found = _read_index(folder, index)
    else:
        found = [
            Recording(check_inside(folder, path), path.parent.name)
            for path in sorted(folder.glob("*/*"))
            if path.suffix.lower() in SUFFIXES and not path.parent.name.startswith(".")
        ]
    if not found:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}. "
            f"Received: data_dir={str(folder)!r}, {describe_folder(folder)}"
        )
    return found


def _read_index(folder: Path, index: Path) -> list[Recording]:
    (_, header), *rows = read_rows(index)
    columns = tuple(name.strip().lower() for name in header)
    if columns not in (COLUMNS, COLUMNS[:2]):
        raise ValueError(
            f"Expected the columns file,class or file,class,split in {str(index)!r}. "
            f"Received: {','.join(header)}"
        )
    found = [_recording(folder, index, row, len(columns)) for row in rows]
    if len({one.path for one in found}) < len(found):
        raise ValueError(f"Expected unique files in {str(index)!r}. Received: a file listed twice")
    parts = {one.split for one in found} - {None}
    if parts and parts != set(SPLITS):
        raise ValueError(
            f"Expected both train and test in {str(index)!r}. Received: split={parts.pop()!r}"
        )
    return found


def _recording(folder: Path, index: Path, row: Row, columns: int) -> Recording:
    line, cells = row[0], [cell.strip() for cell in row[1]]
    allowed = len(cells) == columns and all(cells) and set(cells[2:]) <= set(SPLITS)
    if not allowed or Path(cells[0]).suffix.lower() not in SUFFIXES:
        expected = "a file (.amc or .csv), its class and, if there is a split column, train or test"
        raise line_error(index, line, expected, ",".join(cells))
    path = check_inside(folder, folder / cells[0])
    if not path.is_file():
        raise line_error(index, line, "an existing file", cells[0])
    return Recording(path, *cells[1:])
