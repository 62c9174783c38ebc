"""Attention transfer from a teacher to a student (re-exported in keras_attention.training)."""
