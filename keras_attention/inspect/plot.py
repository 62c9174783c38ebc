"""Figures of a model's attention."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import masks, regions
from keras_attention.inspect.activation_maps import (
    draw_distiller,
    draw_grad_cam,
    draw_maps,
    is_distiller,
    map_names,
    validate_map_layers,
)
from keras_attention.inspect.calls import (
    Call,
    LayerNames,
    refuse_ambiguous_name,
    trace_calls,
)
from keras_attention.inspect.examples import Examples, make_examples, predicted_classes
from keras_attention.inspect.figures import TITLE_SIZE, fit_to_width, write_below
from keras_attention.inspect.grad_cam import grad_cam as compute_grad_cam
from keras_attention.utils.io import write_atomically
from keras_attention.utils.validation import boolean, positive_integer, positive_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Resolution of files in dots per inch.
DPI = 120
# Number of layers that are not shown whose names are listed.
LISTED_NAMES = 8

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

# Functions that draw all layers of their mechanism; the others draw the first one.
_DRAW_ALL = (regions.draw_windows, regions.draw_transformers)


def plot_attention(
    model: keras.Model,
    images: Any = None,
    path: str | Path | None = None,
    *,
    layer: str | Sequence[str] | None = None,
    before: keras.Model | None = None,
    title: str | None = None,
    image_range: tuple[float, float] | None = None,
    class_names: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    indices: Sequence[Any] | None = None,
    grad_cam: Any = False,
    dpi: int = DPI,
    width: float | None = None,
) -> "Figure":
    """Draws the attention of a model on images.

    The figure shows the first of these mechanisms that the model contains. A line at the bottom
    names the layers with attention that are not shown.

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
    normalization, and at the smaller of two sizes (figure 6 of the same paper). Of several teachers
    it is the mean of their maps. All maps of a pair share a color scale. The predicted classes are
    below the last pair. A distiller without pairs that compares gradients is shown by them: the map
    is that of the gradient of the cross-entropy with respect to the images, for the classes in
    `labels`, or else for the classes that the student predicts (section 3.2).

    Args:
        model: Keras model that contains an attention mechanism, or any model with `layer`; or an
            `AttentionDistiller`.
        images: Input of the model, `(B, H, W, channels)` in its value range, or sequences
            `(B, T, features)`. For several inputs, a list, tuple or dictionary as the model
            receives; the first image is drawn. Default: an image of zeros in the model's input
            size.
        path: Path of a file to write. The suffix selects the format, PNG without a suffix. Default:
            no file.
        layer: Name of the layer to show, or its path in nested models, such as `"encoder/conv"`, or
            a list of these. For a distiller: names of student layers in `pairs`. Default: the first
            mechanism, or all pairs.
        before: Model before training (for a distiller: the student), shown beside `model`. Default:
            for attention windows a newly initialized copy of `model`, otherwise none.
        title: Title of the figure.
        image_range: Lowest and highest value of the images, which are drawn black and white, such
            as `(0, 255)`. The model receives the images unchanged. Default: the range that the
            first operations of the model show, such as `Rescaling`, or else the range of the
            images, with a warning if it may be another.
        class_names: Name of each class, in place of its index.
        labels: True class of each image, an index or a name, shown beside the predicted one.
        indices: Index of each image, such as that in a dataset, for the titles of the rows.
            Default: 1, 2 and so on.
        grad_cam: If True, the Grad-CAM heat map of the predicted class at the last feature map is
            shown beside the attention, see `inspect.grad_cam`. For a distiller: that of the
            student. A model without attention is shown by its heat map alone. For another class,
            layer or output: heat maps `(B, h, w)` that `inspect.grad_cam` returned.
        dpi: Resolution of the file in dots per inch; 120 by default.
        width: Width of the figure in inches, such as 3.4 for a column of a paper. Fonts and panels
            shrink with it. Default: a width that fits the number of panels.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the model contains no mechanism and `layer` is None, if the output of `layer`
            is no feature map or several layers have its name, if the images do not fit the model,
            or if `class_names`, `labels` or `indices` have a wrong length.

    Example:
    >>> import numpy as np, keras_attention as ka
    >>> figure = ka.inspect.plot_attention(ka.applications.TDN10(), np.zeros((1, 28, 28, 1)))
    >>> len(figure.axes) > 6
    True
    >>> network = ka.applications.WideResNet(10, 1, "at")
    >>> figure = ka.inspect.plot_attention(network, layer="group3")
    >>> [axes.get_title().splitlines()[-1] for axes in figure.axes[:3]]
    ['image', '8 x 8', 'over the image']
    """
    positive_integer("dpi", dpi)
    if width is not None:
        positive_number("width", width)
    network = model.student if is_distiller(model) else model
    examples = make_examples(network, images, image_range, labels, class_names, indices)
    examples = _with_predictions(examples, network, grad_cam)
    figure = _draw(model, examples, layer, before)
    if title:
        figure.suptitle(title, fontsize=TITLE_SIZE)
    if width is not None:
        fit_to_width(figure, width)
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix[1:] or "png"
        write_atomically(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=dpi))
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
        return bool(model.pairs or model.uses_gradients) and not model.precomputed
    calls = trace_calls(model, input_shape)
    return any(matches(call) for matches, _ in _MECHANISMS for call in calls)


def _with_predictions(examples: Examples, network: keras.Model, grad_cam: Any) -> Examples:
    """Adds the predicted classes, if names or labels are requested, and the heat maps."""
    shown = examples.first(regions.IMAGES_SHOWN)
    found: dict[str, Any] = {}
    if examples.class_names is not None or examples.labels is not None:
        outputs = network(shown.inputs, training=False)
        found["predictions"] = predicted_classes(network, outputs, examples.class_names)
    if np.ndim(grad_cam) == 3 and len(grad_cam) == len(examples.images):
        found["heat_maps"] = keras.ops.convert_to_numpy(grad_cam)[: len(shown.images)]
    elif np.ndim(grad_cam) > 0 or boolean("grad_cam", grad_cam):
        found["heat_maps"] = _heat_maps(network, shown, grad_cam)
    return dataclasses.replace(shown, **found)


def _heat_maps(network: keras.Model, examples: Examples, grad_cam: Any) -> np.ndarray:
    if grad_cam is not True:
        raise ValueError(
            "`grad_cam` must be True, False, or heat maps (B, h, w), one for each image. Received: "
            f"grad_cam of shape {np.shape(grad_cam)}"
        )
    try:
        return compute_grad_cam(network, examples.inputs)
    except ValueError as error:
        raise ValueError(
            f"{str(error).rstrip('.')}. To set options of Grad-CAM, pass the result of "
            "`inspect.grad_cam` as `grad_cam`."
        ) from error


def _draw(model: Any, examples: Examples, layer: Any, before: keras.Model | None) -> "Figure":
    if is_distiller(model):
        return draw_distiller(model, examples, layer, before)
    calls = trace_calls(model, inputs=examples.inputs)
    found = [(draw, list(filter(matches, calls))) for matches, draw in _MECHANISMS]
    index, mechanisms = LayerNames(calls), [call.layer for _, found_ in found for call in found_]
    names = index.known(mechanisms)
    named = index.find(layer) if isinstance(layer, str) else []
    attending = [one for one in named if any(one is other for other in mechanisms)]
    if len(named) > 1 and attending:
        refuse_ambiguous_name(layer, named, index)
    if layer is not None and not attending:
        map_layers = validate_map_layers(layer, calls, names)
        return draw_maps(map_layers, calls, model, examples, before)
    for draw, matching in found:
        kept = [call for call in matching if layer is None or call.layer is attending[0]]
        if kept:
            figure = draw(kept, model, examples, before)
            if layer is None:
                shown = kept if draw in _DRAW_ALL else kept[:1]
                others = [one for one in mechanisms if all(one is not call.layer for call in shown)]
                write_below(figure, _layers_not_shown(others, index))
            return figure
    if examples.heat_maps is not None:
        return draw_grad_cam(calls, model, examples)
    kinds = sorted({type(call.layer).__name__ for call in calls})
    maps = map_names(calls)
    example = f", such as {maps[-1]!r}" if maps else ""
    raise ValueError(
        "`model` must contain an attention mechanism of keras_attention, such as a TargetLayer, or "
        f"`layer` must be the name of a layer whose output is a feature map{example}. "
        f"Received: {model.name!r} with layers {', '.join(kinds)}"
    )


def _layers_not_shown(layers: Sequence[keras.Layer], index: LayerNames) -> str:
    """Names the layers with attention that a figure does not show; empty if there are none."""
    names = index.known(layers)
    if not names:
        return ""
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    listed = ", ".join(names[:LISTED_NAMES]) + more
    return f'Not shown: {listed}. To show one: layer="{names[0]}"'
