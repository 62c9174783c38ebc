"""Finds the folders of data sets that are read from their published files."""

import os
from collections.abc import Sequence
from pathlib import Path


def folder_variable(name: str) -> str:
    """The environment variable that names a data set's folder.

    Example:
    >>> folder_variable("pain_archive")
    'PAIN_ARCHIVE_DIR'
    """
    return f"{name.upper()}_DIR"


def find_folder(name: str, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Says where a data set's folder is: as the argument says, else as the environment does.

    Args:
        name: Of the data set.
        data_dir: A path, or None.

    Returns:
        The path, which need not exist, or None where nothing names one.
    """
    if data_dir is None:
        data_dir = os.environ.get(folder_variable(name)) or None
    return None if data_dir is None else Path(data_dir)


def describe_folder(folder: Path) -> str:
    """Says what a folder holds, for error messages."""
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
    """The folder of a data set that has to be there.

    Args:
        name: Of the data set.
        data_dir: A path, or None for that of the environment variable.
        layout: What the folder holds, for the error.
        source: Where the files come from, for the error.
        holds: A file or folder by which it is known.
        archive: What the folder is called as it is published; what is named may hold it.

    Raises:
        ValueError: Where nothing names a folder, or what is named is none or does not hold it.
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
    """Checks that none of many paths leads out of a folder, by its name or by links.

    Raises:
        ValueError: For one that does.
    """
    for parent in dict.fromkeys(path.parent for path in paths):
        check_inside(folder, parent)
    for path in paths:
        if path.name == ".." or path.is_symlink():
            check_inside(folder, path)


def check_inside(folder: Path, path: Path) -> Path:
    """Returns a path if it does not lead out of the folder, by its name or by links.

    Raises:
        ValueError: For one that does.
    """
    if path.resolve().is_relative_to(folder.resolve()):
        return path
    raise ValueError(f"Expected files inside {str(folder)!r}. Received: {str(path)!r}")
