"""Modules of the program `attend_rectify.py`."""
