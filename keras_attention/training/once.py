"""Values that are computed once for each object."""

from collections.abc import Callable
from typing import Any


class Once:
    """A property that is kept, like `functools.cached_property` without its lock.

    Up to Python 3.11 that lock is one for all objects. Replicas of TensorFlow are threads that wait
    for each other while they compute: the one that holds the lock would wait for ever.

    Args:
        function: From the object to the value.

    Example:
    >>> class Circle:
    ...     @Once
    ...     def area(self):
    ...         print("computed")
    ...         return 3.14
    >>> circle = Circle()
    >>> circle.area + circle.area
    computed
    6.28
    """

    def __init__(self, function: Callable[[Any], Any]):
        self.function, self.name = function, function.__name__
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.function(instance)
        return value
