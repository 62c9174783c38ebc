"""Modules of the program `targeted_kernels.py`, which cites the paper."""
