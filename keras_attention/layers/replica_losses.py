"""Losses that a layer adds, where several replicas share the layer."""

from threading import get_ident
from typing import Any

import keras

from keras_attention import backend

Tensor = Any


class ReplicaLosses(keras.layers.Layer):
    """A layer whose added losses are those of the replica that asks.

    Replicas of TensorFlow are threads that call one layer by turns, each until it waits for the
    others, and Keras keeps one list of losses for all: a loss would count as often as there are
    replicas, or be cleared by the next one's call.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`.

    Example:
    >>> layer = ReplicaLosses()
    >>> layer.add_loss(keras.ops.convert_to_tensor(2.0))
    >>> [float(loss) for loss in layer.losses]
    [2.0]
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._of_replicas: dict[int, list[Tensor]] = {}

    def add_loss(self, loss: Any) -> None:
        super().add_loss(loss)
        if backend.replicas() > 1:
            mine = self._of_replicas.setdefault(get_ident(), [])
            mine.extend(keras.tree.flatten(loss))

    def _get_own_losses(self) -> list[Tensor]:
        if backend.replicas() > 1:
            return list(self._of_replicas.get(get_ident(), ()))
        return super()._get_own_losses()

    def _clear_losses(self) -> None:
        super()._clear_losses()
        self._of_replicas.pop(get_ident(), None)
