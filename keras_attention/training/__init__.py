"""Training: distillation, callbacks, optimizers and resumable training."""

from typing import TYPE_CHECKING, Any

from keras_attention.distillation.distiller import AttentionDistiller
from keras_attention.distillation.gradient_attention import GradientAttention
from keras_attention.training.layerwise_optimizer import LayerwiseOptimizer
from keras_attention.training.regroup import RegroupROIs
from keras_attention.training.resumable_fit import resumable_fit

if TYPE_CHECKING:
    from keras_attention.inspect.animation import AttentionLogger

__all__ = [
    "AttentionDistiller",
    "AttentionLogger",
    "GradientAttention",
    "LayerwiseOptimizer",
    "RegroupROIs",
    "resumable_fit",
]


def __getattr__(name: str) -> Any:
    if name == "AttentionLogger":
        # Imported on first use, like `keras_attention.inspect`.
        from keras_attention.inspect.animation import AttentionLogger

        return AttentionLogger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
