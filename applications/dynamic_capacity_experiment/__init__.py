"""Modules of the program `dynamic_capacity.py`, which cites the paper."""
