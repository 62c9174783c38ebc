"""The mechanisms as Keras layers."""

from keras_attention.layers.attend_rectify import AttendRectifyHead, AttentionModule
from keras_attention.layers.attentive_regularization import AttentiveRegularization
from keras_attention.layers.bam import BAM
from keras_attention.layers.cbam import CBAM
from keras_attention.layers.dynamic_capacity import PatchRefiner
from keras_attention.layers.recurrent_attention import RecurrentAttention
from keras_attention.layers.scale_space import SANBlock
from keras_attention.layers.spatial_transformer import SpatialTransformer
from keras_attention.layers.targeted import TargetLayer

__all__ = [
    "BAM",
    "CBAM",
    "AttendRectifyHead",
    "AttentionModule",
    "AttentiveRegularization",
    "PatchRefiner",
    "RecurrentAttention",
    "SANBlock",
    "SpatialTransformer",
    "TargetLayer",
]
