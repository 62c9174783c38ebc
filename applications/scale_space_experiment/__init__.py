"""Modules of the program `scale_space.py`, which cites the paper."""
