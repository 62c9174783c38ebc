"""Recordings of human motion with a class each: the CMU motion capture database, or others.

Reference: Garg et al., SAN, which learns 8 gesture classes from 184 recordings of 62 sensors.
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
from keras_attention.datasets.splits import SPLIT_SEED, stratified_split
from keras_attention.utils.validation import fraction, one_of, positive_integer

SOURCE = "http://mocap.cs.cmu.edu"
FITS = {"resample": resample, "pad": pad}
DEGREES_OF_FREEDOM = ("tx", "ty", "tz", "rx", "ry", "rz", "l")
HEADER = {":fully-specified", ":degrees"}
# A line's number in its file, and its words.
Line = tuple[int, list[str]]
INDEX = "labels.csv"
COLUMNS = ("file", "class", "split")
SPLITS = ("train", "test")
SUFFIXES = (".amc", ".csv")
LAYOUT = (
    "recordings as CLASS/NAME.amc or CLASS/NAME.csv, or with labels.csv, whose columns are file, "
    "class and, if wanted, split"
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
    """Lists the classes of a folder of recordings: label 0 is the first, in alphabetical order.

    Args:
        data_dir: The folder; None for that of the environment variable `MOCAP_DIR`.

    Raises:
        ValueError: Without the folder, or recordings in it.
    """
    folder = require_folder("mocap", data_dir, LAYOUT, SOURCE)
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
            return check_inside(folder, (of_subject or skeletons)[0])
    raise ValueError(
        f"Expected {subject or 'SUBJECT'}.asf, or one .asf alone, beside {str(path)!r} or in "
        f"{str(folder)!r}. Received: neither"
    )


@dataclass(frozen=True)
class Skeleton:
    """Bones that move, the root first.

    Attributes:
        bones: The name of each and its degrees of freedom, such as `("rx", "ry", "rz")`.
    """

    bones: dict[str, tuple[str, ...]]

    @property
    def sensors(self) -> tuple[str, ...]:
        """The degrees of freedom as `"bone.dof"`, in the order of `read_motion`'s columns."""
        return tuple(f"{bone}.{freedom}" for bone, all_ in self.bones.items() for freedom in all_)


def read_skeleton(path: Path) -> Skeleton:
    """Reads which bones of a skeleton move, and how, from an .asf file.

    Raises:
        ValueError: For a file without a root's `order` or bones, and bones without a name, with
            that of another or with an unknown degree of freedom.
    """
    sections: dict[str, list[Line]] = {}
    for line, words in _words_of_lines(path):
        if words[0].startswith(":"):
            section = sections.setdefault(words[0].lower(), [])
        elif sections:
            section.append((line, words))
    bones = {"root": _root_freedoms(path, sections.get(":root", []))}
    for line, facts in _bone_blocks(path, sections.get(":bonedata", [])):
        name = " ".join(facts.get("name", []))
        if not name or name in bones:
            raise _format_error(path, line, "a bone with a name of its own", name or "no name")
        bones[name] = _freedoms(path, line, facts.get("dof", []))
    if len(bones) == 1:
        raise ValueError(f"Expected :bonedata with bones in {str(path)!r}. Received: none")
    return Skeleton({name: freedoms for name, freedoms in bones.items() if freedoms})


def read_motion(path: Path, skeleton: Skeleton) -> np.ndarray:
    """Reads a motion of a skeleton from an .amc file.

    Args:
        path: Of the file.
        skeleton: Whose bones each frame must have, all of them.

    Returns:
        Float64 `(frames, degrees of freedom)`, angles in degrees.

    Raises:
        ValueError: For a file without frames or their header, frames that do not follow each other,
            bones that the skeleton has not or the frame has not, and other than finite numbers.
    """
    frames = _motion_frames(path)
    numbers = [line_and_words[1][0] for line_and_words, _ in frames]
    first = int(numbers[0]) if numbers[0].isdigit() else 1
    for index, ((line, words), _) in enumerate(frames):
        if words != [str(first + index)]:
            raise _format_error(path, line, f"frame {first + index}", words[0])
    return np.array([_motion_frame(path, number, bones, skeleton) for number, bones in frames])


def _motion_frames(path: Path) -> list[tuple[Line, list[Line]]]:
    """The line with each frame's number, and the lines of its bones."""
    lines = list(_words_of_lines(path))
    header = list(itertools.takewhile(lambda line: line[1][0].startswith(":"), lines))
    received = " ".join(words[0] for _, words in header) or "no header"
    if {words[0].lower() for _, words in header} != HEADER or len(lines) == len(header):
        raise ValueError(
            f"Expected :FULLY-SPECIFIED, :DEGREES and then frames in {str(path)!r}. "
            f"Received: {received}, {len(lines) - len(header)} lines behind it"
        )
    frames: list[tuple[Line, list[Line]]] = []
    for line, words in lines[len(header) :]:
        if len(words) == 1:
            frames.append(((line, words), []))
        elif frames:
            frames[-1][1].append((line, words))
        else:
            raise _format_error(path, line, "the number of a frame", " ".join(words))
    return frames


def _motion_frame(path: Path, number: Line, rows: list[Line], skeleton: Skeleton) -> list[float]:
    bones: dict[str, list[float]] = {}
    for line, words in rows:
        name, freedoms = words[0], skeleton.bones.get(words[0], ())
        if not freedoms or name in bones:
            raise _format_error(path, line, "each moving bone of the skeleton once a frame", name)
        bones[name] = parse_finite(path, line, words[1:])
        if len(bones[name]) != len(freedoms):
            wanted = f"{name} with {' '.join(freedoms)}"
            raise _format_error(path, line, wanted, f"{len(bones[name])} numbers")
    missing = [name for name in skeleton.bones if name not in bones]
    if missing:
        raise _format_error(
            path, number[0], "a frame with all bones", f"none of {', '.join(missing)}"
        )
    return [value for name in skeleton.bones for value in bones[name]]


def _root_freedoms(path: Path, lines: list[Line]) -> tuple[str, ...]:
    for line, words in lines:
        if words[0].lower() == "order":
            return _freedoms(path, line, words[1:])
    raise ValueError(f"Expected :root with its order in {str(path)!r}. Received: none")


def _bone_blocks(path: Path, lines: list[Line]) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """What stands between each begin and its end, by keyword."""
    begun = 0
    facts: dict[str, list[str]] = {}
    for line, (keyword, *words) in lines:
        if (keyword == "begin" and begun) or (keyword != "begin" and not begun):
            raise _format_error(path, line, "bones from begin to end", keyword)
        if keyword == "begin":
            begun, facts = line, {}
        elif keyword == "end":
            yield begun, facts
            begun = 0
        else:
            facts[keyword.lower()] = words
    if begun:
        raise _format_error(path, begun, "an end for the bone", "none")


def _freedoms(path: Path, line: int, words: list[str]) -> tuple[str, ...]:
    freedoms = tuple(word.lower() for word in words)
    if not set(freedoms) <= set(DEGREES_OF_FREEDOM) or len(set(freedoms)) < len(freedoms):
        raise _format_error(
            path, line, f"some of {' '.join(DEGREES_OF_FREEDOM)}, each once", " ".join(words)
        )
    return freedoms


def _words_of_lines(path: Path) -> Iterator[Line]:
    """Lines as words, without comments and empty lines."""
    # Names and documentation may be in any encoding; this one reads every byte.
    with path.open(encoding="latin-1") as file:
        for line, text in enumerate(file, start=1):
            words = text.split()
            if words and not words[0].startswith("#"):
                yield line, words


def _format_error(path: Path, line: int, expected: str, received: str) -> ValueError:
    return ValueError(
        f"Expected {expected} in line {line} of {str(path)!r}. Received: {received[:80]}"
    )


@dataclass(frozen=True)
class Recording:
    """A file and what is known of it.

    Attributes:
        path: Of the file.
        name: Of its class.
        split: `"train"`, `"test"`, or None where nothing says.
    """

    path: Path
    name: str
    split: str | None = None


def find_recordings(folder: Path) -> list[Recording]:
    """Lists the recordings of a folder, always in the same order.

    Raises:
        ValueError: Where there is none, or an index is not as it should be.
    """
    index = folder / INDEX
    found = _indexed(folder, index) if index.is_file() else _of_folders(folder)
    if not found:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}. "
            f"Received: data_dir={str(folder)!r}, {describe_folder(folder)}"
        )
    return found


def _of_folders(folder: Path) -> list[Recording]:
    return [
        Recording(check_inside(folder, path), path.parent.name)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in SUFFIXES and not path.parent.name.startswith(".")
    ]


def _indexed(folder: Path, index: Path) -> list[Recording]:
    (_, header), *rows = read_rows(index)
    columns = tuple(name.strip().lower() for name in header)
    if columns not in (COLUMNS, COLUMNS[:2]):
        raise ValueError(
            f"Expected the columns file,class or file,class,split in {str(index)!r}. "
            f"Received: {','.join(header)}"
        )
    found = [_recording(folder, index, row, len(columns)) for row in rows]
    if len({one.path for one in found}) < len(found):
        raise ValueError(f"Expected every file once in {str(index)!r}. Received: one of them twice")
    parts = {one.split for one in found} - {None}
    if parts and parts != set(SPLITS):
        raise ValueError(
            f"Expected both of train and test in {str(index)!r}. Received: split={parts.pop()!r}"
        )
    return found


def _recording(folder: Path, index: Path, row: Row, columns: int) -> Recording:
    line, cells = row[0], [cell.strip() for cell in row[1]]
    allowed = len(cells) == columns and all(cells) and set(cells[2:]) <= set(SPLITS)
    if not allowed or Path(cells[0]).suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"Expected a file of {' or '.join(SUFFIXES)}, its class and, where there is such a "
            f"column, train or test in line {line} of {str(index)!r}. Received: {','.join(cells)}"
        )
    path = check_inside(folder, folder / cells[0])
    if not path.is_file():
        raise ValueError(
            f"Expected a file that is there in line {line} of {str(index)!r}. Received: {cells[0]}"
        )
    return Recording(path, *cells[1:])
