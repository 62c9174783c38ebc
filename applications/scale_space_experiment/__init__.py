"""Modules of the program `scale_space.py`."""
