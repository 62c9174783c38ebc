"""The top that networks with attention modules share."""

from collections.abc import Sequence
from typing import Any

from keras_attention.applications.conventions import Tensor, classifier
from keras_attention.arguments import is_integer
from keras_attention.layers.answer import answered
from keras_attention.layers.attend_rectify import AttendRectifyHead


def taps(attention_depth: int, maps: Sequence[Tensor], least: int = 1) -> list[Tensor]:
    """The maps to attend to, the deepest first.

    Args:
        attention_depth: How many.
        maps: All that can be, the deepest last.
        least: 0 where none is allowed.

    Raises:
        ValueError: For a depth that is not there.
    """
    if is_integer(attention_depth) and least <= attention_depth <= len(maps):
        return list(reversed(maps))[: int(attention_depth)]
    raise ValueError(
        f"`attention_depth` must be an integer from {least} to {len(maps)}, the layers that can be "
        f"attended to. Received: attention_depth={attention_depth!r}"
    )


def rectified(
    maps: Sequence[Tensor], features: Tensor, x: Tensor, activation: Any, head: AttendRectifyHead
) -> Tensor:
    """Adds a classifier and a head that rectifies what it says.

    Args:
        maps: What the modules look at, the deepest first.
        features: What the gates look at, pooled.
        x: What the classifier reads.
        activation: Of the answer; None leaves the logarithms of its probabilities.
        head: The modules and gates.
    """
    decay = head.regularizer
    logits = classifier(x, head.classes, None, decay, "logits", bias_regularizer=decay)
    return answered(head(list(maps), logits, features), head.space, activation)
