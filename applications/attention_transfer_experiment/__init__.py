"""Modules of the program `attention_transfer.py`, which cites the paper."""
