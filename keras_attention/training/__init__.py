"""Training: distillation, callbacks, optimizers and resumable training."""

from keras_attention.distillation.distiller import AttentionDistiller
from keras_attention.distillation.gradient_attention import GradientAttention
from keras_attention.training.layerwise_optimizer import LayerwiseOptimizer
from keras_attention.training.regroup import RegroupROIs
from keras_attention.training.resumable_fit import resumable_fit

__all__ = [
    "AttentionDistiller",
    "GradientAttention",
    "LayerwiseOptimizer",
    "RegroupROIs",
    "resumable_fit",
]
