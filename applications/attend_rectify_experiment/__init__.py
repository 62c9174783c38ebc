"""Modules of the program `attend_rectify.py`, which cites the paper."""
