"""Modules of the program `attention_transfer.py`."""
