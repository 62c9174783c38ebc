"""Modules of the program `targeted_kernels.py`."""
