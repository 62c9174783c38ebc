"""Puts a mechanism into any Keras model, or makes a trained one fast."""

from keras_attention.surgery.attend_rectify import add_attend_rectify
from keras_attention.surgery.attention import add_attention
from keras_attention.surgery.compaction import compact
from keras_attention.surgery.folding import fold_batch_normalization
from keras_attention.surgery.freezing import freeze_backbone
from keras_attention.surgery.targeted import to_targeted

__all__ = [
    "add_attend_rectify",
    "add_attention",
    "compact",
    "fold_batch_normalization",
    "freeze_backbone",
    "to_targeted",
]
