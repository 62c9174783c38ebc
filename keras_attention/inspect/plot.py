"""Pictures of attention."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.arguments import one_of
from keras_attention.files import write_whole
from keras_attention.inspect import (
    attend_rectify,
    masks,
    recurrent_attention,
    scale_space,
    spatial_transformer,
    windows,
)
from keras_attention.inspect.calls import Call, trace_calls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each finds its mechanism among a model's calls and draws it; the first that does comes first.
_PAINTERS = (windows, attend_rectify, spatial_transformer, scale_space, masks, recurrent_attention)


def plot_attention(
    model: keras.Model,
    images: Any = None,
    path: str | Path | None = None,
    *,
    layer: str | None = None,
    before: keras.Model | None = None,
    title: str | None = None,
) -> "Figure":
    """Draws where a model attends, by the first of these mechanisms that it holds.

    - Attention windows (`TargetLayer`, `AttentiveRegularization`), a row a layer: the windows of
      up to 12 kernels before training and now, and all regions of interest over the first image
      (figure 4 of Chitta, Targeted Kernel Networks, 2018).
    - `AttendRectifyHead`, the first one, a row for each of up to 3 images: what the heads of each
      module look at, the deepest first, with what each head counts; what each module and the
      network itself count in the answer, and the class that each of them predicts, beside the
      answer. Of an `AttentionModule` alone, its heads and their gates.
    - `SpatialTransformer`: up to 6 images with the frame that it looks at, and what it passes on.
    - `SANBlock`, the first one, a row for each of up to 3 images: the outputs of both layers, their
      difference, extrema, smoothed extrema and mask (figure 4 of Garg et al., SAN, 2020), as the 16
      channels whose mask varies most, or over time.
    - `CBAM` and `BAM`, the first one, a row an image: the mean map, the mask by channels, by places
      and as 16 channels, and the map that leaves.
    - `RecurrentAttention` in `keras.layers.RNN`, the first one, a row a sequence: what the layer
      reads, the mask over time and their product.

    Args:
        model: A Keras model that holds at least one attention mechanism.
        images: `(B, H, W, channels)` in `[0, 1]`, or sequences `(B, T, features)`: the model's
            input; None for a blank one of the model's own size.
        path: Where to write a PNG (or what the suffix says); None writes nothing.
        layer: Name of the layer to show, whatever its mechanism; None as above.
        before: The model before training; None for a fresh copy of `model`.
        title: Line above the picture.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: When the model holds no mechanism, or none in `layer`, or for images of another
            shape.

    Example:
    >>> import keras_attention as ka
    >>> figure = plot_attention(ka.applications.TDN10(), np.zeros((1, 28, 28, 1)))
    >>> len(figure.axes) > 6
    True
    """
    images = _checked_images(model, images)
    calls = trace_calls(model, images.shape[1:])
    painter, found = _painter_and_calls(model, calls, layer)
    figure = painter.draw(found, model, images, before, title)
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix[1:] or "png"
        write_whole(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=120))
    return figure


def has_attention(model: keras.Model, input_shape: Any = None) -> bool:
    """Whether `plot_attention` finds something to draw.

    Args:
        model: A Keras model.
        input_shape: `(H, W, channels)` or `(T, features)`; None takes the model's own.

    Example:
    >>> import keras_attention as ka
    >>> has_attention(ka.applications.TDN10()), has_attention(ka.applications.DN10())
    (True, False)
    """
    calls = trace_calls(model, input_shape)
    return any(painter.find(calls) for painter in _PAINTERS)


def _checked_images(model: keras.Model, images: Any) -> np.ndarray:
    if images is None:
        if None in model.input_shape[1:]:
            raise ValueError(
                f"`images` must be given: {model.name!r} takes any size. Received: images=None"
            )
        images = np.zeros((1, *model.input_shape[1:]))
    images = np.asarray(images, dtype="float32")
    inputs = getattr(model, "inputs", None)
    ranks = (len(inputs[0].shape),) if inputs else (3, 4)
    if images.ndim not in ranks or images.ndim not in (3, 4) or len(images) == 0:
        raise ValueError(
            "`images` must have the shape (B, H, W, channels), or (B, T, features) where "
            f"{model.name!r} takes sequences, with at least one image. "
            f"Received: images.shape={images.shape}"
        )
    return images


def _painter_and_calls(
    model: keras.Model, calls: list[Call], layer: str | None
) -> tuple[Any, list[Call]]:
    """The painter that comes first, with the calls to draw: all that it finds, or the layer's."""
    found = [(painter, painter.find(calls)) for painter in _PAINTERS]
    names = dict.fromkeys(call.layer.name for _, by_painter in found for call in by_painter)
    if not names:
        kinds = sorted({type(call.layer).__name__ for call in calls})
        raise ValueError(
            "`model` must hold an attention mechanism of keras_attention, such as a TargetLayer. "
            f"Received: {model.name!r} with layers {', '.join(kinds)}"
        )
    one_of("layer", layer, (None, *names))
    by_layer = (
        (painter, [call for call in by_painter if layer in (None, call.layer.name)])
        for painter, by_painter in found
    )
    return next((painter, kept) for painter, kept in by_layer if kept)
