"""What training needs beyond compile and fit."""

from keras_attention.training.attention_transfer import AttentionDistiller
from keras_attention.training.gradient_attention import GradientAttention
from keras_attention.training.learning_rates import LayerwiseOptimizer
from keras_attention.training.resumable import resumable_fit
from keras_attention.training.targeted import RegroupROIs

__all__ = [
    "AttentionDistiller",
    "GradientAttention",
    "LayerwiseOptimizer",
    "RegroupROIs",
    "resumable_fit",
]
