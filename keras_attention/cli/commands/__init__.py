"""The commands: one module each, whose `run` takes the options and returns a `CommandResult`."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CommandResult:
    """Values to print with `--json`, and lines and rich tables to print otherwise."""

    values: dict[str, Any]
    printed: list[Any] = field(default_factory=list)
    exit_code: int = 0

    def as_json(self) -> str:
        """Formats the values as one line of JSON; NaN and infinity become null.

        Example:
        >>> CommandResult({"error_percent": 2.5, "mse": float("nan")}).as_json()
        '{"error_percent": 2.5, "mse": null}'
        """
        return json.dumps(_json_value(self.values), allow_nan=False)


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
