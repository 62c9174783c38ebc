"""Functions in front of others, in their name."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def in_place_of(function: Function, front: Any) -> Function:
    """Returns `front` with the name, the docstring and the module of a function.

    Its globals are those of the function's module, where doctest looks for the example, so that
    `front` may use nothing but its arguments, built-in names and what surrounds it.

    Example:
    >>> def front(*args, **kwargs):
    ...     return "first"
    >>> in_place_of(nothing := lambda: None, front)()
    'first'
    """
    there: Any = FunctionType(
        front.__code__, function.__globals__, front.__name__, front.__defaults__, front.__closure__
    )
    functools.update_wrapper(there, function)
    return there
