"""Pictures of attention."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.files import write_whole
from keras_attention.inspect import spatial_transformer, windows
from keras_attention.inspect.calls import Call, trace_calls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each finds its mechanism among a model's calls and draws it.
_PAINTERS = (windows, spatial_transformer)


def plot_attention(
    model: keras.Model,
    images: Any = None,
    path: str | Path | None = None,
    *,
    before: keras.Model | None = None,
    title: str | None = None,
) -> "Figure":
    """Draws where a model attends.

    For attention windows (`TargetLayer`, `AttentiveRegularization`), a row a layer: the windows
    of up to 12 kernels before training and now, and all regions of interest over the first
    image (figure 4 of Chitta, Targeted Kernel Networks, 2018). For a `SpatialTransformer`, where
    there are no windows: up to 6 images with the frame that it looks at, and what it passes on.

    Args:
        model: A Keras model that holds at least one attention mechanism.
        images: `(B, H, W, channels)` in `[0, 1]`, the model's input; None for a blank one of the
            model's own size.
        path: Where to write a PNG (or what the suffix says); None writes nothing.
        before: The model before training; None for a fresh copy of `model`.
        title: Line above the picture.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: When the model holds no mechanism, or images of another shape.

    Example:
    >>> import keras_attention as ka
    >>> figure = plot_attention(ka.applications.TDN10(), np.zeros((1, 28, 28, 1)))
    >>> len(figure.axes) > 6
    True
    """
    if images is None:
        if None in model.input_shape[1:]:
            raise ValueError(
                f"`images` must be given: {model.name!r} takes any size. Received: images=None"
            )
        images = np.zeros((1, *model.input_shape[1:]))
    images = np.asarray(images, dtype="float32")
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            "`images` must have the shape (B, H, W, channels), with at least one image. "
            f"Received: images.shape={images.shape}"
        )
    calls = trace_calls(model, images.shape[1:])
    painter = _painter(calls)
    if painter is None:
        kinds = sorted({type(call.layer).__name__ for call in calls})
        raise ValueError(
            "`model` must hold an attention mechanism of keras_attention, such as a TargetLayer. "
            f"Received: {model.name!r} with layers {', '.join(kinds)}"
        )
    figure = painter.draw(painter.find(calls), model, images, before, title)
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
        input_shape: `(H, W, channels)`; None takes the model's own.

    Example:
    >>> import keras_attention as ka
    >>> has_attention(ka.applications.TDN10()), has_attention(ka.applications.DN10())
    (True, False)
    """
    return _painter(trace_calls(model, input_shape)) is not None


def _painter(calls: list[Call]) -> Any:
    return next((painter for painter in _PAINTERS if painter.find(calls)), None)
