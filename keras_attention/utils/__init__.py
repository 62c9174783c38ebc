"""Argument validation, data formats, atomic files and numerical helpers."""
