"""Says which data sets are on this machine, without reading or downloading one."""

import os
from pathlib import Path

from keras_attention.datasets.folders import folder_of, variable_of
from keras_attention.datasets.registry import DatasetInfo

# Where tensorflow-datasets keeps its sets if nothing else is said.
USUAL_FOLDER = "~/tensorflow_datasets"
BUNDLED = "bundled"


def at_hand(info: DatasetInfo) -> Path | str | None:
    """Finds a data set on this machine.

    A folder that is named counts as it stands: whether its files are whole, `load` says.

    Args:
        info: Of `find` or `list_datasets`.

    Returns:
        `"bundled"` for what needs no files, the folder of its own files or of what
        tensorflow-datasets has prepared, or None.

    Example:
    >>> from keras_attention import datasets
    >>> at_hand(datasets.find("digits"))
    'bundled'
    """
    if not (info.source or info.folder):
        return BUNDLED
    folder = folder_of(info.folder, None) if info.folder else None
    if folder is not None and folder.is_dir():
        return folder
    return _prepared(info.source) if info.source else None


def to_get(info: DatasetInfo) -> str:
    """Says what brings a data set that is not at hand.

    Example:
    >>> from keras_attention import datasets
    >>> to_get(datasets.find("svhn_numbers")), to_get(datasets.find("mnist"))
    ('SVHN_NUMBERS_DIR names its folder', 'downloaded on first use')
    """
    ways = [f"{variable_of(info.folder)} names its folder"] if info.folder else []
    if info.needs_network:
        ways.append("downloaded on first use")
    elif info.source:
        ways.append("prepared by tensorflow-datasets from its archives")
    return ", or ".join(ways)


def _prepared(source: str) -> Path | None:
    """The folder of the last version that tensorflow-datasets has prepared."""
    root = Path(os.environ.get("TFDS_DATA_DIR") or USUAL_FOLDER).expanduser()
    versions = sorted(path.parent for path in root.glob(f"{source}/*/dataset_info.json"))
    return versions[-1] if versions else None
