"""Finds the folders of data sets that are read from their published files."""

import os
from pathlib import Path


def variable_of(name: str) -> str:
    """The environment variable that names a data set's folder.

    Example:
    >>> variable_of("pain_archive")
    'PAIN_ARCHIVE_DIR'
    """
    return f"{name.upper()}_DIR"


def folder_of(name: str, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Says where a data set's folder is: as the argument says, else as the environment does.

    Args:
        name: Of the data set.
        data_dir: A path, or None.

    Returns:
        The path, which need not exist, or None where nothing names one.
    """
    if data_dir is None:
        data_dir = os.environ.get(variable_of(name)) or None
    return None if data_dir is None else Path(data_dir)


def contents(folder: Path) -> str:
    """Says what a folder holds, for error messages."""
    if not folder.is_dir():
        return "not a folder"
    names = sorted(path.name for path in folder.iterdir())
    more = ", ..." if len(names) > 5 else ""
    return f"a folder with {', '.join(names[:5])}{more}" if names else "an empty folder"
