"""What training needs beyond compile and fit."""

from keras_attention.training.learning_rates import LayerwiseOptimizer
from keras_attention.training.targeted import RegroupROIs

__all__ = ["LayerwiseOptimizer", "RegroupROIs"]
