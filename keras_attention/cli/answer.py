"""What a command has found, for people and for scripts."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a command returns.

    Attributes:
        facts: What `--json` prints.
        shown: What is printed otherwise, one below the other: lines, or tables of rich.
        code: The exit code.
    """

    facts: dict[str, Any]
    shown: list[Any] = field(default_factory=list)
    code: int = 0

    def as_json(self) -> str:
        """One line; numbers that JSON does not have become null.

        Example:
        >>> Answer({"error_percent": 2.5, "mse": float("nan")}).as_json()
        '{"error_percent": 2.5, "mse": null}'
        """
        return json.dumps(_plain(self.facts), allow_nan=False)


def wrote(**paths: Path) -> Answer:
    """The answer of a command that wrote files, by what they are."""
    return Answer(dict(paths), [f"wrote {path}" for path in paths.values()])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
