"""Motion capture in Acclaim's two formats: a skeleton (.asf) and its motions (.amc).

A skeleton names bones and the degrees of freedom (dof) of each. A motion has a number for every
degree of freedom in every frame. The skeletons of the CMU Graphics Lab Motion Capture Database
have 62 of them, the 6 of the root included.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_attention.datasets.tables import finite_numbers

FREEDOMS = ("tx", "ty", "tz", "rx", "ry", "rz", "l")
HEADER = {":fully-specified", ":degrees"}

# A line's number in its file, and its words.
Line = tuple[int, list[str]]


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
    for line, words in _lines(path):
        if words[0].startswith(":"):
            section = sections.setdefault(words[0].lower(), [])
        elif sections:
            section.append((line, words))
    bones = {"root": _root(path, sections.get(":root", []))}
    for line, facts in _blocks(path, sections.get(":bonedata", [])):
        name = " ".join(facts.get("name", []))
        if not name or name in bones:
            raise _error(path, line, "a bone with a name of its own", name or "no name")
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
    frames = _frames(path)
    numbers = [line_and_words[1][0] for line_and_words, _ in frames]
    first = int(numbers[0]) if numbers[0].isdigit() else 1
    for index, ((line, words), _) in enumerate(frames):
        if words != [str(first + index)]:
            raise _error(path, line, f"frame {first + index}", words[0])
    return np.array([_frame(path, number, bones, skeleton) for number, bones in frames])


def _frames(path: Path) -> list[tuple[Line, list[Line]]]:
    """The line with each frame's number, and the lines of its bones."""
    lines = list(_lines(path))
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
            raise _error(path, line, "the number of a frame", " ".join(words))
    return frames


def _frame(path: Path, number: Line, rows: list[Line], skeleton: Skeleton) -> list[float]:
    bones: dict[str, list[float]] = {}
    for line, words in rows:
        name, freedoms = words[0], skeleton.bones.get(words[0], ())
        if not freedoms or name in bones:
            raise _error(path, line, "each moving bone of the skeleton once a frame", name)
        bones[name] = finite_numbers(path, line, words[1:])
        if len(bones[name]) != len(freedoms):
            wanted = f"{name} with {' '.join(freedoms)}"
            raise _error(path, line, wanted, f"{len(bones[name])} numbers")
    missing = [name for name in skeleton.bones if name not in bones]
    if missing:
        raise _error(path, number[0], "a frame with all bones", f"none of {', '.join(missing)}")
    return [value for name in skeleton.bones for value in bones[name]]


def _root(path: Path, lines: list[Line]) -> tuple[str, ...]:
    for line, words in lines:
        if words[0].lower() == "order":
            return _freedoms(path, line, words[1:])
    raise ValueError(f"Expected :root with its order in {str(path)!r}. Received: none")


def _blocks(path: Path, lines: list[Line]) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """What stands between each begin and its end, by keyword."""
    begun = 0
    facts: dict[str, list[str]] = {}
    for line, (keyword, *words) in lines:
        if (keyword == "begin" and begun) or (keyword != "begin" and not begun):
            raise _error(path, line, "bones from begin to end", keyword)
        if keyword == "begin":
            begun, facts = line, {}
        elif keyword == "end":
            yield begun, facts
            begun = 0
        else:
            facts[keyword.lower()] = words
    if begun:
        raise _error(path, begun, "an end for the bone", "none")


def _freedoms(path: Path, line: int, words: list[str]) -> tuple[str, ...]:
    freedoms = tuple(word.lower() for word in words)
    if not set(freedoms) <= set(FREEDOMS) or len(set(freedoms)) < len(freedoms):
        raise _error(path, line, f"some of {' '.join(FREEDOMS)}, each once", " ".join(words))
    return freedoms


def _lines(path: Path) -> Iterator[Line]:
    """Lines as words, without comments and empty lines."""
    # Names and documentation may be in any encoding; this one reads every byte.
    with path.open(encoding="latin-1") as file:
        for line, text in enumerate(file, start=1):
            words = text.split()
            if words and not words[0].startswith("#"):
                yield line, words


def _error(path: Path, line: int, expected: str, received: str) -> ValueError:
    return ValueError(
        f"Expected {expected} in line {line} of {str(path)!r}. Received: {received[:80]}"
    )
