"""Inspection of models: multiply-accumulates, figures of attention, tables and timing."""

from keras_attention.inspect.animation import AttentionAnimation
from keras_attention.inspect.grad_cam import grad_cam
from keras_attention.inspect.macs import (
    count_macs,
    short_number,
    summary_table,
    trainable_parameters,
)
from keras_attention.inspect.plot import has_attention, plot_attention
from keras_attention.inspect.timing import interleaved_timing
from keras_attention.inspect.with_attention import with_attention

__all__ = [
    "AttentionAnimation",
    "count_macs",
    "grad_cam",
    "has_attention",
    "interleaved_timing",
    "plot_attention",
    "short_number",
    "summary_table",
    "trainable_parameters",
    "with_attention",
]
