"""Losses of Attention Transfer and Attend and Rectify."""

from keras_attention.losses.attend_rectify import NegativeLogLikelihood
from keras_attention.losses.attention_transfer import (
    AttentionTransferLoss,
    HintLoss,
    KnowledgeDistillationLoss,
)

__all__ = [
    "AttentionTransferLoss",
    "HintLoss",
    "KnowledgeDistillationLoss",
    "NegativeLogLikelihood",
]
