"""Kinds of options of a command line."""

import argparse


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
