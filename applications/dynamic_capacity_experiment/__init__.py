"""Modules of the program `dynamic_capacity.py`."""
