"""Attention mechanisms as Keras layers.

A line here registers a layer: `__all__`, the API page and the table in README are derived from it.
"""

from keras_attention.layers.attend_rectify import AttendRectifyHead as AttendRectifyHead
from keras_attention.layers.attend_rectify import AttentionModule as AttentionModule
from keras_attention.layers.attentive_regularization import (
    AttentiveRegularization as AttentiveRegularization,
)
from keras_attention.layers.bam import BAM as BAM
from keras_attention.layers.cbam import CBAM as CBAM
from keras_attention.layers.dynamic_capacity import PatchRefiner as PatchRefiner
from keras_attention.layers.recurrent_attention import RecurrentAttention as RecurrentAttention
from keras_attention.layers.scale_space import SANBlock as SANBlock
from keras_attention.layers.spatial_transformer import SpatialTransformer as SpatialTransformer
from keras_attention.layers.targeted import TargetLayer as TargetLayer

__all__ = sorted(name for name, value in globals().items() if isinstance(value, type))


def __dir__() -> list[str]:
    return __all__
