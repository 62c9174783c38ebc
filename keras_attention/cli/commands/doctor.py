"""Says what is installed, what the backend sees, and which data sets are at hand."""

import platform
import shutil
from argparse import Namespace
from typing import Any

from rich.table import Table

from keras_attention import __version__, backend, datasets
from keras_attention.cli import installed
from keras_attention.cli.answer import Answer


def run(options: Namespace) -> Answer:
    """Looks without loading or downloading anything; the exit code is 1 where names clash."""
    clashing = installed.clashing_packages()
    seen = backend.accelerators()
    facts: dict[str, Any] = {
        "keras_attention": __version__,
        "python": platform.python_version(),
        "versions": installed.versions(),
        "backend": backend.BACKEND,
        "backends": installed.backends(),
        "accelerators": seen,
        "clashing_packages": clashing,
        "missing_for_extras": installed.missing_for_extras(),
        "data_sets": _data_sets(),
        "advice": [*_about_clash(clashing), *_about_driver(seen)],
    }
    return Answer(facts, [_software(facts), _data(facts), *facts["advice"]], int(bool(clashing)))


def _about_clash(clashing: list[str]) -> list[str]:
    return [
        f"{name} is another package that imports as keras_attention; only one of the two can be "
        f"installed: pip uninstall {name}, then pip install --force-reinstall --no-deps "
        "keras-cnn-attention"
        for name in clashing
    ]


def _about_driver(seen: list[str]) -> list[str]:
    """What to do where there is a GPU's driver and the backend sees no GPU."""
    if seen or shutil.which("nvidia-smi") is None:
        return []
    return [
        f"There is a driver of NVIDIA, and {backend.BACKEND} sees no GPU: "
        'pip install "keras-cnn-attention[gpu]"'
    ]


def _data_sets() -> list[dict[str, Any]]:
    found = []
    for name, info in datasets.list_datasets().items():
        place = datasets.at_hand(info)
        facts = {"name": name, "at_hand": place is not None, "place": place}
        found.append({**facts, "to_get": None if place else datasets.to_get(info)})
    return found


def _software(facts: dict[str, Any]) -> Table:
    rows = {
        "keras_attention": facts["keras_attention"],
        "python": facts["python"],
        **facts["versions"],
        "backend": f"{facts['backend']}, of {', '.join(facts['backends'])}",
        "accelerators": ", ".join(facts["accelerators"]) or "none seen",
    }
    for extra, missing in facts["missing_for_extras"].items():
        how = f'missing {", ".join(missing)}: pip install "keras-cnn-attention[{extra}]"'
        rows[f"extra {extra}"] = how if missing else "installed"
    return _table("software", rows)


def _data(facts: dict[str, Any]) -> Table:
    rows = {
        one["name"]: str(one["place"] or f"not here: {one['to_get']}") for one in facts["data_sets"]
    }
    return _table("data sets", rows)


def _table(title: str, rows: dict[str, str]) -> Table:
    table = Table(title=title, show_header=False)
    for name, value in rows.items():
        # Brackets of an extra are no markup.
        table.add_row(name, value.replace("[", r"\["))
    return table
