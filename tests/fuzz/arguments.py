"""Arguments of anything that takes some, read off its signature."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.values import values


def names_of(function: Callable[..., Any]) -> list[str]:
    """What a function or a class takes by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def spoiled(function: Callable[..., Any], fine: Mapping[str, Any]) -> st.SearchStrategy:
    """Arguments that are fine, with some of all that there are replaced."""
    names = st.sampled_from(names_of(function))
    changed = st.dictionaries(names, values(), min_size=1, max_size=2)
    return changed.map(lambda changes: {**fine, **changes})
