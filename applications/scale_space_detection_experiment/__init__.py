"""Modules of the program `scale_space_detection.py`, which cites the paper."""
