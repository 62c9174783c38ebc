"""Number of examples per property: a few in every run, many in slow runs."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW, MANY = 3, 400

few_or_many = pytest.mark.parametrize(
    "examples", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
)


def check_examples(
    examples: int, check: Callable[..., Any], **strategies: st.SearchStrategy
) -> None:
    """Checks a property on a number of examples, the same ones in every run."""
    deterministic = settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    deterministic(given(**strategies)(check))()
