"""Compaction of trained models: constant regions, and nothing computed around them."""

from keras_attention.surgery.compaction.compact import compact

__all__ = ["compact"]
