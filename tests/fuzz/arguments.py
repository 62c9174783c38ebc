"""Arguments of any function or class, generated from its signature."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.values import values


def argument_names(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments of a function or a class."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def corrupted(
    function: Callable[..., Any], valid: Mapping[str, Any], large: bool = False
) -> st.SearchStrategy:
    """Valid arguments, of which one or two of all arguments are replaced."""
    names = st.sampled_from(argument_names(function))
    changes = st.dictionaries(names, values(large), min_size=1, max_size=2)
    return changes.map(lambda changed: {**valid, **changed})
