"""How many examples a property is tried on: a few always, many where they are asked for."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW, MANY = 3, 400

tries = pytest.mark.parametrize(
    "examples", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
)


def hunt(examples: int, check: Callable[..., Any], **strategies: st.SearchStrategy) -> None:
    """Tries a property on so many examples, the same ones every time."""
    calm = settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    calm(given(**strategies)(check))()
