"""Figures of a model's attention."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import masks, regions
from keras_attention.inspect.activation_maps import (
    draw_distiller,
    draw_maps,
    is_distiller,
    is_feature_map,
    validate_map_layers,
)
from keras_attention.inspect.calls import Call, trace_calls
from keras_attention.inspect.figures import TITLE_SIZE
from keras_attention.utils.io import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Functions that recognize the calls of a mechanism and draw them. The first mechanism that a model
# contains is drawn.
_MECHANISMS: tuple[tuple[Callable[[Call], bool], Callable[..., "Figure"]], ...] = (
    (regions.has_windows, regions.draw_windows),
    (masks.returns_gates, masks.draw_heads),
    (regions.refines_patches, regions.draw_patches),
    (regions.warps_images, regions.draw_transformers),
    (masks.compares_maps, partial(masks.draw_first_layer, masks.scale_space_columns)),
    (masks.returns_mask, partial(masks.draw_first_layer, masks.mask_columns)),
    (masks.has_attending_cell, partial(masks.draw_first_layer, masks.recurrent_columns)),
    # Fallback for every other layer with `return_attention`.
    (masks.returns_attention, partial(masks.draw_first_layer, masks.attention_columns)),
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
    figure = _draw(model, images, layer, before)
    if title:
        figure.suptitle(title, fontsize=TITLE_SIZE)
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
    return any(matches(call) for matches, _ in _MECHANISMS for call in calls)


def _draw(model: Any, images: Any, layer: Any, before: keras.Model | None) -> "Figure":
    if is_distiller(model):
        images = _validate_images(model.student, images)
        return draw_distiller(model, images, layer, before)
    images = _validate_images(model, images)
    calls = trace_calls(model, images.shape[1:])
    found = [(draw, list(filter(matches, calls))) for matches, draw in _MECHANISMS]
    names = list(dict.fromkeys(call.layer.name for _, matching in found for call in matching))
    if layer is not None and not (isinstance(layer, str) and layer in names):
        map_layers = validate_map_layers(layer, calls, names)
        return draw_maps(map_layers, calls, model, images, before)
    for draw, matching in found:
        kept = [call for call in matching if layer in (None, call.layer.name)]
        if kept:
            return draw(kept, model, images, before)
    kinds = sorted({type(call.layer).__name__ for call in calls})
    maps = list(filter(is_feature_map, calls))
    example = f", such as {maps[-1].layer.name!r}" if maps else ""
    raise ValueError(
        "`model` must contain an attention mechanism of keras_attention, such as a TargetLayer, or "
        f"`layer` must be the name of a layer whose output is a feature map{example}. "
        f"Received: {model.name!r} with layers {', '.join(kinds)}"
    )


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
