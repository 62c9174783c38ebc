"""Compaction of trained models with target layers."""

from keras_attention.surgery.compaction.compact import compact

__all__ = ["compact"]
