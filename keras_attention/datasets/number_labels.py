"""Numbers of one to five digits as labels: how many digits, and which.

Reference: Goodfellow et al., Multi-digit number recognition (2013); Almahairi et al., Dynamic
Capacity Networks (2016), section 4.2.1.
"""

from collections.abc import Sequence

LONGEST = 5
# What stands where a number has no digit.
NO_DIGIT = 10
# One softmax for the length, less 1, and one for each digit.
LABEL_CLASSES = (LONGEST,) + LONGEST * (NO_DIGIT + 1,)


def label_of(digits: Sequence[int]) -> list[int]:
    """The length of a number, less 1, and five digits, 10 where there is none.

    Args:
        digits: From the left, one to five of 0 to 9.

    Example:
    >>> label_of([2, 0, 7])
    [2, 2, 0, 7, 10, 10]
    """
    return [len(digits) - 1, *digits, *(LONGEST - len(digits)) * [NO_DIGIT]]
