"""Fuzz tests: invalid arguments, data and files are accepted or raise a helpful error."""
