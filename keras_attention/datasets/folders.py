"""Locating and checking the folders of data sets that are read from their published files."""

import os
from collections.abc import Sequence
from pathlib import Path


def folder_variable(name: str) -> str:
    """Returns the name of the environment variable with a data set's folder.

    Example:
    >>> folder_variable("pain_archive")
    'PAIN_ARCHIVE_DIR'
    """
    return f"{name.upper()}_DIR"


def find_folder(name: str, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Returns `data_dir`, or the value of the environment variable, or None if neither is set."""
    if data_dir is None:
        data_dir = os.environ.get(folder_variable(name)) or None
    return None if data_dir is None else Path(data_dir)


def describe_folder(folder: Path) -> str:
    """Describes the contents of a folder for error messages."""
    if not folder.is_dir():
        return "not a folder"
    names = sorted(path.name for path in folder.iterdir())
    more = ", ..." if len(names) > 5 else ""
    return f"a folder with {', '.join(names[:5])}{more}" if names else "an empty folder"


def require_folder(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    layout: str,
    source: str,
    holds: str = "",
    archive: str = "",
) -> Path:
    """Returns the folder of a data set, or raises an error with its contents and publisher.

    `holds` is a file or folder that must be inside. `data_dir` may be the published folder
    `archive` or its parent; None uses the environment variable.
    """
    folder = find_folder(name, data_dir)
    for root in () if folder is None else (folder, folder / archive):
        if root.is_dir() and (root / holds).exists():
            return root
    received = "" if folder is None else f", {describe_folder(folder)}"
    raise ValueError(
        f"`data_dir`, or the environment variable {folder_variable(name)}, must name a folder with "
        f"{layout}. The files come from {source}. "
        f"Received: data_dir={None if folder is None else str(folder)!r}{received}"
    )


def check_all_inside(folder: Path, paths: Sequence[Path]) -> None:
    """Checks that all paths lie inside a folder, after links are resolved."""
    for parent in dict.fromkeys(path.parent for path in paths):
        check_inside(folder, parent)
    for path in paths:
        if path.name == ".." or path.is_symlink():
            check_inside(folder, path)


def check_inside(folder: Path, path: Path) -> Path:
    """Returns a path after checking that it lies inside a folder, with links resolved."""
    if path.resolve().is_relative_to(folder.resolve()):
        return path
    raise ValueError(f"Expected files inside {str(folder)!r}. Received: {str(path)!r}")


def line_error(path: Path, line: int, expected: str, received: object) -> ValueError:
    """Returns an error that names a malformed line of a file."""
    return ValueError(
        f"Expected {expected} in line {line} of {str(path)!r}. Received: {str(received)[:120]}"
    )
