"""What a model computes and where it looks: MACs, pictures, tables."""

from keras_attention.inspect.animation import AttentionAnimation
from keras_attention.inspect.macs import count_macs
from keras_attention.inspect.plot import has_attention, plot_attention
from keras_attention.inspect.table import short_number, summary_table, trainable_parameters
from keras_attention.inspect.timing import alternated
from keras_attention.inspect.with_attention import with_attention

__all__ = [
    "AttentionAnimation",
    "alternated",
    "count_macs",
    "has_attention",
    "plot_attention",
    "short_number",
    "summary_table",
    "trainable_parameters",
    "with_attention",
]
