"""Kinds of options of a command line."""

import argparse
import math


def positive(text: str) -> int:
    """Reads a positive integer of the command line."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive integer. Received: {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Reads a seed of the command line."""
    if not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2**31 - 1. Received: {text!r}")
    return int(text)


def count(text: str) -> int:
    """Reads an integer of the command line that may be 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be an integer, 0 or more. Received: {text!r}")
    return int(text)


def positive_number(text: str) -> float:
    """Reads a positive number of the command line."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number. Received: {text!r}")
    return number


def share(text: str) -> float:
    """Reads a number of the command line from 0 on, below 1."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1. Received: {text!r}")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
