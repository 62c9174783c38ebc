"""Pictures of attention."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import (
    activations,
    attend_rectify,
    attention_transfer,
    dynamic_capacity,
    masks,
    recurrent_attention,
    scale_space,
    spatial_transformer,
    windows,
)
from keras_attention.inspect.calls import Call, trace_calls
from keras_attention.utils.io import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each finds its mechanism among a model's calls and draws it; the first that does comes first.
_PAINTERS = (
    windows,
    attend_rectify,
    dynamic_capacity,
    spatial_transformer,
    scale_space,
    masks,
    recurrent_attention,
)


def plot_attention(
    model: keras.Model,
    images: Any = None,
    path: str | Path | None = None,
    *,
    layer: str | Sequence[str] | None = None,
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
    - `PatchRefiner`, the first one, a row for each of up to 3 images: the image with the patches
      that are looked at finely, the most salient in bold, and what the network says of it first and
      then; the saliency of each place; and the patches in that order (figures 3 and 6 of Almahairi
      et al., Dynamic Capacity Networks, 2016).
    - `SpatialTransformer`: up to 6 images with the frame that it looks at, and what it passes on.
    - `SANBlock`, the first one, a row for each of up to 3 images: the outputs of both layers, their
      difference, extrema, smoothed extrema and mask (figure 4 of Garg et al., SAN, 2020), as the 16
      channels whose mask varies most, or over time.
    - `CBAM` and `BAM`, the first one, a row an image: the mean map, the mask by channels, by places
      and as 16 channels, and the map that leaves.
    - `RecurrentAttention` in `keras.layers.RNN`, the first one, a row a sequence: what the layer
      reads, the mask over time and their product.

    Of any other layer that makes a map, named by `layer`, it draws the attention of activations, a
    row for each of up to 3 images: the mean over the channels of the squared map, divided by its
    norm, and the same over the image, interpolated (figure 4 of Zagoruyko and Komodakis, Paying
    More Attention to Attention, 2017). A list of names shows each so, mechanism or not.

    Of a `training.AttentionDistiller` it draws, for each pair of layers, the student's map beside
    the teacher's, as the loss compares them: its power, reduction and normalization, and of the
    smaller size where they differ (figure 6 there). All maps of a pair share one scale, so that
    the same color is the same value in student and teacher. Under the last pair are the classes
    that the networks predict.

    Args:
        model: A Keras model that holds at least one attention mechanism, or any with `layer`; or an
            `AttentionDistiller`.
        images: `(B, H, W, channels)` in `[0, 1]`, or sequences `(B, T, features)`: the model's
            input; None for a blank one of the model's own size.
        path: Where to write a PNG (or what the suffix says); None writes nothing.
        layer: Name of the layer to show, whatever its mechanism, or none; or a list of names. Of
            a distiller, the student's name of a pair. None as above, and for all pairs.
        before: The model before training, the student of a distiller, shown beside `model`; of
            windows, a fresh copy of `model` where None is given, of all else nothing.
        title: Line above the picture.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: When the model holds no mechanism and no layer is given, when `layer` neither
            attends nor makes a map, or for images of another shape.

    Example:
    >>> import keras_attention as ka
    >>> figure = plot_attention(ka.applications.TDN10(), np.zeros((1, 28, 28, 1)))
    >>> len(figure.axes) > 6
    True
    >>> network = ka.applications.WideResNet(10, 1, "at")
    >>> figure = plot_attention(network, layer="group3")
    >>> [axes.get_title().splitlines()[-1] for axes in figure.axes[:3]]
    ['image', '8 x 8', 'over the image']
    """
    figure = _figure(model, images, layer, before, title)
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
    if attention_transfer.is_distiller(model):
        return bool(model.pairs)
    calls = trace_calls(model, input_shape)
    return any(painter.find(calls) for painter in _PAINTERS)


def _figure(
    model: Any,
    images: Any,
    layer: str | Sequence[str] | None,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    if attention_transfer.is_distiller(model):
        images = _checked_images(model.student, images)
        return attention_transfer.draw(model, images, layer, before, title)
    images = _checked_images(model, images)
    calls = trace_calls(model, images.shape[1:])
    found = [(painter, painter.find(calls)) for painter in _PAINTERS]
    attending = list(dict.fromkeys(call.layer.name for _, kept in found for call in kept))
    if layer is None or (isinstance(layer, str) and layer in attending):
        painter, kept = _painter_and_calls(model, calls, found, layer)
        return painter.draw(kept, model, images, before, title)
    names = activations.checked_names(layer, calls, attending)
    return activations.draw(calls, names, model, images, before, title)


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
    model: keras.Model, calls: list[Call], found: list[tuple[Any, list[Call]]], layer: str | None
) -> tuple[Any, list[Call]]:
    """The painter that comes first, with the calls to draw: all that it finds, or the layer's."""
    for painter, by_painter in found:
        kept = [call for call in by_painter if layer in (None, call.layer.name)]
        if kept:
            return painter, kept
    kinds = sorted({type(call.layer).__name__ for call in calls})
    maps = activations.find(calls)
    such = f", such as {maps[-1].layer.name!r}" if maps else ""
    raise ValueError(
        "`model` must hold an attention mechanism of keras_attention, such as a TargetLayer; or "
        f"`layer` must name one that makes a map{such}, to show the attention of its activations. "
        f"Received: {model.name!r} with layers {', '.join(kinds)}"
    )
