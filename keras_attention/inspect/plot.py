"""Figures of a model's attention."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_attention.inspect.activation_maps import (
    draw_distiller,
    draw_maps,
    find_maps,
    is_distiller,
    validate_map_layers,
)
from keras_attention.inspect.calls import Call, trace_calls
from keras_attention.inspect.masks import (
    draw_attention,
    draw_heads,
    draw_masks,
    draw_recurrent,
    draw_scale_space,
    find_attention,
    find_heads,
    find_masks,
    find_recurrent,
    find_scale_space,
)
from keras_attention.inspect.regions import (
    draw_patches,
    draw_transformers,
    draw_windows,
    find_patches,
    find_transformers,
    find_windows,
)
from keras_attention.utils.io import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Mechanism(NamedTuple):
    """Functions that draw one kind of attention mechanism.

    Attributes:
        find: Selects the calls of the mechanism from all calls of a model.
        draw: Draws these calls; its arguments are the calls, the model, the images, the model
            before training or None, and the title or None.
    """

    find: Callable[[Sequence[Call]], list[Call]]
    draw: Callable[..., "Figure"]


# The first mechanism that a model contains is drawn.
_MECHANISMS = (
    Mechanism(find_windows, draw_windows),
    Mechanism(find_heads, draw_heads),
    Mechanism(find_patches, draw_patches),
    Mechanism(find_transformers, draw_transformers),
    Mechanism(find_scale_space, draw_scale_space),
    Mechanism(find_masks, draw_masks),
    Mechanism(find_recurrent, draw_recurrent),
    # Fallback for every other layer with `return_attention`.
    Mechanism(find_attention, draw_attention),
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
    """Draws the attention of a model on images.

    The figure shows the first of these mechanisms that the model contains:

    - Attention windows (`TargetLayer`, `AttentiveRegularization`), a row for each layer: the
      windows of up to 12 kernels before training and now, and the regions of interest of all
      kernels on the first image (figure 4 of Chitta, Targeted Kernel Networks, 2018).
    - `AttendRectifyHead`, the first one, a row for each of up to 3 images: the masks and gates of
      the heads of each module, the deepest feature map first; the gates of the modules and of the
      network itself; and the class that each of them predicts. For an `AttentionModule` alone: its
      heads and their gates.
    - `PatchRefiner`, the first one, a row for each of up to 3 images: the image with the selected
      patches, the most salient in bold, and the classes predicted from the coarse and the refined
      map; the saliency; and the patches by saliency (figures 3 and 6 of Almahairi et al., Dynamic
      Capacity Networks, 2016).
    - `SpatialTransformer`: up to 6 images with the frame that is sampled, and the warped images.
    - `SANBlock`, the first one, a row for each of up to 3 images: both input maps, their
      difference, extrema, smoothed extrema and mask (figure 4 of Garg et al., SAN, 2020), as the
      16 channels with the most variable mask, or over time.
    - `CBAM` and `BAM`, the first one, a row for each of up to 3 images: the mean input map, the
      mask by channel, by position and as 16 channels, and the mean output map.
    - `RecurrentAttention` in `keras.layers.RNN`, the first one, a row for each of up to 3
      sequences: the input of the layer, the mask over time, and their product.
    - Any other layer with `return_attention`, the first one, a row for each of up to 3 images: the
      attention that it returns.

    With `layer`, the figure shows the activation-based attention of any layer whose output is a
    feature map, a row for each of up to 3 images: the mean of the squared map over the channels,
    divided by its norm, by itself and interpolated over the image (figure 4 of Zagoruyko and
    Komodakis, Paying More Attention to Attention, 2017). The name of a layer with one of the
    mechanisms above shows the mechanism; in a list of names, all layers are shown by their
    activations.

    For a `training.AttentionDistiller`, the figure shows the student's and the teacher's attention
    map for each pair of layers, computed as in the loss: with its power, reduction and
    normalization, and at the smaller of two sizes (figure 6 of the same paper). All maps of a pair
    share a color scale. The predicted classes are below the last pair.

    Args:
        model: Keras model that contains an attention mechanism, or any model with `layer`; or an
            `AttentionDistiller`.
        images: Input of the model, `(B, H, W, channels)` in `[0, 1]`, or sequences
            `(B, T, features)`. Default: an image of zeros in the model's input size.
        path: Path of a file to write. The suffix selects the format, PNG without a suffix. Default:
            no file.
        layer: Name of the layer to show, or a list of names. For a distiller: names of student
            layers in `pairs`. Default: the first mechanism, or all pairs.
        before: Model before training (for a distiller: the student), shown beside `model`. Default:
            for attention windows a newly initialized copy of `model`, otherwise none.
        title: Title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the model contains no mechanism and `layer` is None, if the output of `layer`
            is no feature map, or if the images do not fit the model.

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
    figure = _draw(model, images, layer, before, title)
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix[1:] or "png"
        write_atomically(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=120))
    return figure


def has_attention(model: keras.Model, input_shape: Any = None) -> bool:
    """Returns True if `plot_attention` can draw the model without the argument `layer`.

    Args:
        model: A Keras model.
        input_shape: `(H, W, channels)` or `(T, features)`. Default: the input shape of the model.

    Example:
    >>> import keras_attention as ka
    >>> has_attention(ka.applications.TDN10()), has_attention(ka.applications.DN10())
    (True, False)
    """
    if is_distiller(model):
        return bool(model.pairs)
    calls = trace_calls(model, input_shape)
    return any(mechanism.find(calls) for mechanism in _MECHANISMS)


def _draw(
    model: Any,
    images: Any,
    layer: str | Sequence[str] | None,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    if is_distiller(model):
        images = _validate_images(model.student, images)
        return draw_distiller(model, images, layer, before, title)
    images = _validate_images(model, images)
    calls = trace_calls(model, images.shape[1:])
    found = [(mechanism, mechanism.find(calls)) for mechanism in _MECHANISMS]
    names = list(dict.fromkeys(call.layer.name for _, kept in found for call in kept))
    if layer is None or (isinstance(layer, str) and layer in names):
        mechanism, kept = _select_mechanism(model, calls, found, layer)
        return mechanism.draw(kept, model, images, before, title)
    return draw_maps(calls, validate_map_layers(layer, calls, names), model, images, before, title)


def _validate_images(model: keras.Model, images: Any) -> np.ndarray:
    if images is None:
        if None in model.input_shape[1:]:
            raise ValueError(
                "`images` must be passed for a model that accepts any image size. Received: "
                f"images=None for {model.name!r}"
            )
        images = np.zeros((1, *model.input_shape[1:]))
    images = np.asarray(images, dtype="float32")
    inputs = getattr(model, "inputs", None)
    ranks = (len(inputs[0].shape),) if inputs else (3, 4)
    if images.ndim not in ranks or images.ndim not in (3, 4) or len(images) == 0:
        raise ValueError(
            "`images` must have the shape (B, H, W, channels), or (B, T, features) for a model of "
            "sequences, and contain at least one image. "
            f"Received: images.shape={images.shape} for {model.name!r}"
        )
    return images


def _select_mechanism(
    model: keras.Model,
    calls: list[Call],
    found: list[tuple[Mechanism, list[Call]]],
    layer: str | None,
) -> tuple[Mechanism, list[Call]]:
    """The first mechanism, with all its calls or those of the named layer."""
    for mechanism, of_mechanism in found:
        kept = [call for call in of_mechanism if layer in (None, call.layer.name)]
        if kept:
            return mechanism, kept
    kinds = sorted({type(call.layer).__name__ for call in calls})
    maps = find_maps(calls)
    example = f", such as {maps[-1].layer.name!r}" if maps else ""
    raise ValueError(
        "`model` must contain an attention mechanism of keras_attention, such as a TargetLayer, or "
        f"`layer` must be the name of a layer whose output is a feature map{example}. "
        f"Received: {model.name!r} with layers {', '.join(kinds)}"
    )
