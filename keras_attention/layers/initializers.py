"""Initializers that several weights share."""

from typing import Any

import keras


def fresh_initializer(initializer: Any) -> Any:
    """Returns an initializer for one more weight, which would else get the same random values.

    Args:
        initializer: A name, an initializer or a function `(shape, dtype)`, which is taken as it is.

    Example:
    >>> fresh_initializer("zeros").__class__.__name__
    'Zeros'
    """
    found = keras.initializers.get(initializer)
    return found.clone() if isinstance(found, keras.initializers.Initializer) else found
