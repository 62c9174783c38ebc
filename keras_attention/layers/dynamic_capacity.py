"""Dynamic Capacity Network: refines the most salient patches of an image."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.graph.receptive_field import receptive_field
from keras_attention.layers.base import ConfigurableLayer
from keras_attention.layers.entropy_saliency import (
    SALIENCY_METHODS,
    EntropySaliency,
    validate_outputs,
)
from keras_attention.ops.attend_rectify import scale_gradient
from keras_attention.ops.dynamic_capacity import (
    gather_patches,
    gather_vectors,
    hint_loss,
    swap_vectors,
    top_positions,
)
from keras_attention.utils.data_format import (
    Shape,
    channel_axis,
    from_channels_last,
    map_shape,
    spatial_shape,
    standardize_data_format,
    to_channels_last,
)
from keras_attention.utils.tensor_validation import (
    convert_input,
    integer_pair,
    map_input_spec,
    optional,
    validate_input_shape,
)
from keras_attention.utils.validation import (
    boolean,
    is_integer,
    keras_model,
    non_negative_integer,
    non_negative_number,
    one_of,
    positive_integer,
)

Tensor = Any
MODEL_ARGUMENTS = ("coarse", "fine", "top", "fine_top")
Pair = tuple[int, int]


class ReplicaLosses(ConfigurableLayer):
    """Layer that keeps the losses of each replica apart.

    TensorFlow runs each replica in a thread, which calls the same layer until it has to wait for
    the others. Keras keeps one list of losses per layer, so that each loss would count once per
    replica, or be cleared by the call of another replica.

    Example:
    >>> layer = ReplicaLosses()
    >>> layer.add_loss(keras.ops.convert_to_tensor(2.0))
    >>> [float(loss) for loss in layer.losses]
    [2.0]
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._replica_losses: dict[int, list[Tensor]] = {}

    def add_loss(self, loss: Any) -> None:
        super().add_loss(loss)
        if backend.replicas() > 1:
            own = self._replica_losses.setdefault(get_ident(), [])
            own.extend(keras.tree.flatten(loss))

    def _get_own_losses(self) -> list[Tensor]:
        if backend.replicas() > 1:
            return list(self._replica_losses.get(get_ident(), ()))
        return super()._get_own_losses()

    def _clear_losses(self) -> None:
        super()._clear_losses()
        self._replica_losses.pop(get_ident(), None)


@keras.saving.register_keras_serializable(package="keras_attention")
class PatchRefiner(ReplicaLosses):
    """Dynamic Capacity layer: processes the most salient patches with a larger network (section 2).

    The coarse network computes a feature map, and `top` a first prediction. The saliency of a
    position is the norm of the gradient of the prediction's entropy with respect to the coarse
    features there. At the most salient positions, features of the fine network, computed from
    patches of the image, replace the coarse ones; `top` then predicts again. Only these patches are
    processed a second time. No gradient flows through the choice of positions.

    Args:
        coarse: Keras model from an image to a feature map.
        fine: Keras model from a patch to a feature vector of the same length, `(D,)` or
            `(1, 1, D)`.
        top: Keras model from the feature map to probabilities or logits, or to a list of several
            such outputs.
        patches: Number of patches; 8 by default, the paper's value for cluttered digits. If the
            size of the map is unknown when the layer is built, at most as many as it has positions.
        patch_size: Height and width of a patch in pixels, one integer for both; None (default) for
            the receptive field of the coarse features.
        offset: Number of pixels that a patch starts before `position * stride`, one integer for
            both axes; None (default) centers the patch on the receptive field.
        combine: `"swap"` (default, equations 7 and 8), or `"fine_only"`: the fine vectors alone, as
            a map `(B, patches, 1, D)`, are the input of the top, as for house numbers (section
            4.2.2).
        hint_weight: Weight of the squared distance between coarse and fine vectors (equation 6),
            which is added to the training loss and trains the coarse layers only; 0.01 by default,
            as in the authors' code. 0 is "DCN without hints".
        stride: Pixels between neighboring positions of the map; None (default) derives it from the
            layers of `coarse`.
        convex: If True, the gradient of the loss with respect to the coarse layers is multiplied by
            `1 - hint_weight`, a convex combination with the hint (appendix 6.1). False by default,
            as in the authors' code.
        jitter: In training, offsets are drawn from `offset` to `offset + jitter` for each patch and
            axis; 0 by default, 1 in the authors' code.
        fine_top: Model that receives the fine vectors with `"fine_only"`; None (default) for `top`.
        from_logits: If True, `top` returns logits. None (default) determines it from its last
            layer.
        outputs: Indices of the outputs of `top` whose entropy is used (equation 10); None for all.
        saliency: `"derived"` for a backward pass built from forward operations, which exports to
            ONNX and LiteRT; `"autodiff"` for gradients of the backend, which supports any top;
            `"auto"` (default) for the first if the layers of `top` support it.
        saliency_training: If True, the saliency in training uses the batch statistics of
            normalization layers, as in the authors' code. False by default: it uses moving
            statistics.
        epsilon: Added to the squared norm of the gradient; 0 by default, 1e-8 in the authors' code.
        fused: If True, inference on a single image of known size is compiled by XLA. This is faster
            for small models, whose time is dominated by overhead. False by default.
        include_top: If True (default), the layer returns predictions; if False, the refined map.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        images: Batch of images.
        return_attention: If True, the saliency, `(B, s1, s2)`, float32, and the positions,
            `(B, k, 2)`, int32, are also returned: row and column in the map, most salient first.

    Weights:
        Weights of the models. In training the metric `hint` is the mean squared distance of
        equation 6, whatever its weight; there is none on JAX, whose training steps do not support
        metrics of layers.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None if the models
        allow it.

    Output shape:
        Same as that of `top` or `fine_top`; with `include_top=False` that of the coarse map, or
        `(B, patches, 1, D)` with `"fine_only"`.

    Raises:
        ValueError: For invalid arguments, vectors of different lengths, more patches than
            positions, or a `coarse` or `top` for which an omitted argument cannot be derived.

    Example:
    >>> layers = keras.layers
    >>> coarse = keras.Sequential([layers.Conv2D(6, 7, 4, activation="relu")])
    >>> fine = keras.Sequential([
    ...     layers.Conv2D(6, 3, activation="relu"), layers.GlobalMaxPooling2D()
    ... ])
    >>> top = keras.Sequential([
    ...     layers.GlobalMaxPooling2D(), layers.Dense(10, activation="softmax")
    ... ])
    >>> layer = PatchRefiner(coarse, fine, top, patches=4, patch_size=10)
    >>> probabilities, saliency, positions = layer(ops.ones((2, 40, 32, 1)), return_attention=True)
    >>> tuple(probabilities.shape), tuple(saliency.shape), tuple(positions.shape)
    ((2, 10), (2, 9, 7), (2, 4, 2))

    Reference:
        Almahairi et al., Dynamic Capacity Networks (2016), section 2.
    """

    # Names of the tensors that `return_attention` adds, in order.
    attention_names = ("saliency", "positions")

    def __init__(
        self,
        coarse: keras.Model,
        fine: keras.Model,
        top: keras.Model,
        patches: int = 8,
        patch_size: int | Sequence[int] | None = None,
        offset: int | Sequence[int] | None = None,
        combine: str = "swap",
        hint_weight: float = 0.01,
        *,
        stride: int | Sequence[int] | None = None,
        convex: bool = False,
        jitter: int = 0,
        fine_top: keras.Model | None = None,
        from_logits: bool | None = None,
        outputs: Sequence[int] | None = None,
        saliency: str = "auto",
        saliency_training: bool = False,
        epsilon: float = 0.0,
        fused: bool = False,
        include_top: bool = True,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.coarse = keras_model("coarse", coarse)
        self.fine = keras_model("fine", fine)
        self.top = keras_model("top", top)
        self.patches = positive_integer("patches", patches)
        self.patch_size = optional(integer_pair)("patch_size", patch_size)
        self.offset = _validate_offset(offset)
        self.combine = one_of("combine", combine, ("swap", "fine_only"))
        self.hint_weight = non_negative_number("hint_weight", hint_weight)
        self.stride = optional(integer_pair)("stride", stride)
        self.convex = boolean("convex", convex)
        self.jitter = non_negative_integer("jitter", jitter)
        self.fine_top = optional(keras_model)("fine_top", fine_top)
        self.from_logits = optional(boolean)("from_logits", from_logits)
        self.outputs = None if outputs is None else _validate_output_indices(outputs)
        self.saliency = one_of("saliency", saliency, SALIENCY_METHODS)
        self.saliency_training = boolean("saliency_training", saliency_training)
        self.epsilon = non_negative_number("epsilon", epsilon)
        self.fused = boolean("fused", fused)
        self.include_top = boolean("include_top", include_top)
        self.data_format = standardize_data_format(data_format)
        _validate_options(self.combine, self.fine_top, self.convex, self.hint_weight)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        kept = backend.supports_layer_metrics()
        self.hint_metric = keras.metrics.Mean(name="hint") if kept else None
        self.seed_generator = keras.random.SeedGenerator() if self.jitter else None
        self._valid_sizes: set[Shape] = set()
        self._warned_sizes: set[tuple[int, int]] = set()  # one warning per size
        self._compiled_inference = {
            with_attention: backend.jit_single_example(
                partial(self._refine, training=False, return_attention=with_attention)
            )
            for with_attention in (False, True)
        }

    def build(self, input_shape: Shape) -> None:
        axis = channel_axis(self.data_format)
        images = validate_input_shape(self, input_shape, axis)
        self.input_spec = map_input_spec(images, axis)
        models = (self.coarse, self.fine, self.top, self.fine_top)
        self._models = _PatchModels(*models, self.data_format)
        _build(self.coarse, images)
        self.patch_grid = patch_grid(self.coarse, self.patch_size, self.offset, self.stride)
        self._models.build(images, self.patch_grid, self.patches)
        needed = self.combine == "swap" or self.hint_weight > 0.0 or self.fine_top is None
        self._has_hints = self._models.have_same_length(images, self.patch_grid, needed)
        features = self.coarse.compute_output_shape(images)
        self._validate_patch_count(features)
        predictions = self.top.compute_output_spec(keras.KerasTensor(features, self.compute_dtype))
        validate_outputs(self.outputs, predictions)
        options = (self.from_logits, self.outputs, self.epsilon, self.data_format)
        self._saliency = EntropySaliency(self.top, self.saliency, *options)

    def _validate_patch_count(self, features: Shape) -> None:
        height, width = spatial_shape(features, self.data_format)
        if height is not None and width is not None and self.patches > height * width:
            raise ValueError(
                f"`patches` must be at most {height * width}, the number of positions of the "
                f"coarse map of {height} x {width}. Received: patches={self.patches}"
            )

    def call(
        self, images: Tensor, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        images = convert_input(self, images)
        self._validate_image_size(tuple(images.shape))
        if self.fused and not training:
            return self._compiled_inference[bool(return_attention)](images)
        return self._refine(images, training, return_attention)

    def _validate_image_size(self, images: Shape) -> None:
        sides = spatial_shape(images, self.data_format)
        if None not in sides and sides not in self._valid_sizes:
            self._models.validate_images(images)
            if any(size > side for size, side in zip(self.patch_size or (), sides, strict=False)):
                raise ValueError(
                    f"`patch_size` must be at most the size of the images, {sides[0]} x {sides[1]} "
                    f"pixels. Received: patch_size={self.patch_size}"
                )
            self._valid_sizes.add(sides)

    def _refine(self, images: Tensor, training: bool | None, return_attention: bool) -> Any:
        features = self.coarse(images, training=training)
        saliency, values = self._compute_saliency(features, bool(training))
        positions = top_positions(saliency, self._patch_count(saliency))
        fine = self._fine_vectors(images, positions, training)
        maps = to_channels_last(features, self.data_format)
        if training and self._has_hints:
            self._add_hint_loss(gather_vectors(maps, positions), fine)
        if training and self.convex:
            maps = scale_gradient(maps, 1.0 - self.hint_weight)
        outputs = self._compute_output(maps, positions, fine, training, values)
        return (outputs, saliency, positions) if return_attention else outputs

    def _compute_saliency(self, features: Tensor, training: bool) -> tuple[Tensor, Any]:
        """Returns the saliency, and intermediate values of `top` that inference can reuse."""
        if not training:
            return self._saliency.compute(features)
        features = ops.stop_gradient(features)
        if self.saliency_training:
            return self._saliency.compute_in_training(features), None
        return self._saliency.compute(features)[0], None

    def _patch_count(self, saliency: Tensor) -> Any:
        """Returns the number of patches: at most one per position of the map."""
        height, width = ops.shape(saliency)[1:3]
        if not (isinstance(height, int) and isinstance(width, int)):
            return ops.minimum(self.patches, height * width)
        if height * width < self.patches and (height, width) not in self._warned_sizes:
            self._warned_sizes.add((height, width))
            logging.getLogger(__name__).warning(
                "%s refines all positions of a map of %d x %d, which are fewer than patches=%d.",
                *(self.name, height, width, self.patches),
            )
        return min(self.patches, height * width)

    def _fine_vectors(self, images: Tensor, positions: Tensor, training: bool | None) -> Tensor:
        """Applies the fine model to the patches: `(B, k, D)`."""
        grid: PatchGrid = self.patch_grid
        offset: Any = grid.offset
        if training and self.jitter:
            more = keras.random.randint(
                ops.shape(positions), 0, self.jitter + 1, "int32", self.seed_generator
            )
            offset = more + np.array(offset, "int32")
        patches = gather_patches(
            images, positions, grid.size, grid.stride, offset, self.data_format
        )
        flat = ops.reshape(patches, (-1, *patches.shape[2:]))
        vectors = self.fine(flat, training=training)
        length = self._models.feature_length(vectors.shape)
        return ops.reshape(vectors, (-1, ops.shape(positions)[1], length))

    def _add_hint_loss(self, coarse: Tensor, fine: Tensor) -> None:
        distance = hint_loss(coarse, fine)
        if self.hint_metric is not None:
            self.hint_metric.update_state(ops.stop_gradient(distance))
        if self.hint_weight > 0.0:
            self.add_loss(self.hint_weight * distance)

    def _compute_output(
        self, maps: Tensor, positions: Tensor, fine: Tensor, training: bool | None, values: Any
    ) -> Any:
        """Applies `top` to the refined map; `maps` have their channels last."""
        if self.combine == "fine_only":
            return self._apply_top(self.fine_top or self.top, fine[:, :, None, :], training)
        if values is not None and self.include_top:
            outputs = self._saliency.updated_output(values, maps, positions, fine)
            if outputs is not None:
                return outputs
        return self._apply_top(self.top, swap_vectors(maps, positions, fine), training)

    def _apply_top(self, top: keras.Model, maps: Tensor, training: bool | None) -> Any:
        maps = from_channels_last(maps, self.data_format)
        return top(maps, training=training) if self.include_top else maps

    def inner_calls(
        self, input_shape: Shape, executed: bool = False
    ) -> tuple[list[tuple[keras.Model, Shape, int]], int]:
        """Lists the calls of the inner models for one image, to count multiply-accumulates.

        A backward pass through the top counts as much as a forward pass.

        Args:
            input_shape: Shape of the images, with the batch axis.
            executed: If True, operations that the layer skips are subtracted: inference recomputes
                only what the refined vectors change.

        Returns:
            A list of tuples (model, input shape without the batch axis, number of calls), and a
            number of multiply-accumulates to add.
        """
        images, models = tuple(input_shape), self._models
        features = tuple(self.coarse.compute_output_shape(images))
        height, width = spatial_shape(features, self.data_format)
        count = min(self.patches, height * width)
        patch = models.patch_shape(images, self.patch_grid)
        calls = [(self.coarse, images[1:], 1), (self.fine, patch[1:], count)]
        if not self.include_top:
            return [*calls, (self.top, features[1:], 2)], 0
        if self.combine == "fine_only":
            vectors = models.fine_map_shape(images, self.patch_grid, count)
            top = self.fine_top or self.top
            return [*calls, (self.top, features[1:], 2), (top, vectors[1:], 1)], 0
        saved = self._saliency.saved_macs(count, features) if executed else 0
        return [*calls, (self.top, features[1:], 3)], -max(saved, 0)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        specification = self.compute_output_spec(keras.KerasTensor(input_shape))
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), specification)

    def compute_output_spec(
        self, images: Any, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        images = keras.KerasTensor(images.shape, self.compute_dtype)
        features = self.coarse.compute_output_spec(images)
        height, width = spatial_shape(features.shape, self.data_format)
        count = self.patches if height and width else None
        top, maps = self.top, features
        if self.combine == "fine_only":
            top = self.fine_top or top
            shape = self._models.fine_map_shape(images.shape, self.patch_grid, count)
            patch = self._models.patch_shape(images.shape, self.patch_grid)
            vectors = self.fine.compute_output_spec(keras.KerasTensor(patch, self.compute_dtype))
            maps = keras.KerasTensor(shape, vectors.dtype)
        outputs = top.compute_output_spec(maps) if self.include_top else maps
        if not return_attention:
            return outputs
        batch = images.shape[0]
        saliency = keras.KerasTensor((batch, height, width), "float32")
        return outputs, saliency, keras.KerasTensor((batch, count, 2), "int32")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PatchRefiner:
        config = dict(config)
        for name in MODEL_ARGUMENTS:
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


@dataclass(frozen=True)
class _PatchModels:
    """Models of a `PatchRefiner`, and the shapes between them."""

    coarse: keras.Model
    fine: keras.Model
    top: keras.Model
    fine_top: keras.Model | None
    data_format: str

    def validate_images(self, images: Shape) -> None:
        """Raises a ValueError for images that are too small for the coarse model."""
        try:
            sides = spatial_shape(self.coarse.compute_output_shape(images), self.data_format)
        except ValueError:
            sides = (0, 0)
        if any(side is not None and side < 1 for side in sides):
            raise ValueError(
                f"Images must be large enough for an output of {self.coarse.name!r} of one pixel. "
                f"Received: images of shape {images}"
            )

    def build(self, images: Shape, grid: PatchGrid, patches: int) -> None:
        """Builds the models that are not built yet."""
        _build(self.fine, self.patch_shape(images, grid))
        features = tuple(self.coarse.compute_output_shape(images))
        if len(features) != 4 or self.feature_length(features) is None:
            raise ValueError(
                "`coarse` must return a map (B, H, W, C) with a known number of channels. "
                f"Received: {self.coarse.name!r}, which returns {features}"
            )
        _build(self.top, features)
        if self.fine_top is not None:
            _build(self.fine_top, self.fine_map_shape(images, grid, patches))

    def patch_shape(self, images: Any, grid: PatchGrid) -> Shape:
        """Returns the shape of a batch of patches."""
        channels = images[channel_axis(self.data_format)]
        return map_shape(None, grid.size, channels, self.data_format)

    def fine_map_shape(self, images: Any, grid: PatchGrid, patches: Any) -> Shape:
        """Returns the shape of the map of all fine vectors of an image."""
        fine = self.fine.compute_output_shape(self.patch_shape(images, grid))
        return map_shape(images[0], (patches, 1), self.feature_length(fine), self.data_format)

    def feature_length(self, shape: Sequence[Any]) -> Any:
        """Returns the length of feature vectors: `D` of `(B, D)`, the channels of a map."""
        return shape[-1 if len(shape) == 2 else channel_axis(self.data_format)]

    def have_same_length(self, images: Shape, grid: PatchGrid, needed: bool) -> bool:
        """Returns True if coarse and fine vectors have the same length, which may be `needed`."""
        fine = tuple(self.fine.compute_output_shape(self.patch_shape(images, grid)))
        is_pixel = len(fine) == 4 and spatial_shape(fine, self.data_format) == (1, 1)
        if not (len(fine) == 2 or is_pixel) or self.feature_length(fine) is None:
            raise ValueError(
                f"`fine` must return one vector for a patch of {grid.size} pixels. "
                f"Received: {self.fine.name!r}, which returns {fine}"
            )
        length = self.feature_length(self.coarse.compute_output_shape(images))
        if needed and self.feature_length(fine) != length:
            raise ValueError(
                f"`fine` must return vectors of length {length}, like `coarse`. Other lengths need "
                "a `fine_top`, combine='fine_only' and hint_weight=0. "
                f"Received: {self.fine.name!r}, which returns {fine}"
            )
        return self.feature_length(fine) == length


def _build(model: keras.Model, shape: Shape) -> None:
    if not model.built:
        model.build(shape)


@dataclass(frozen=True)
class PatchGrid:
    """Position of patches: patch `i` has `size` pixels from `i * stride - offset` on each axis.

    Attributes:
        size: Height and width of a patch.
        stride: Pixels between neighboring positions.
        offset: Number of pixels that a patch starts before `i * stride`.
    """

    size: Pair
    stride: Pair
    offset: Pair


def patch_grid(
    coarse: keras.Model, size: Any = None, offset: Any = None, stride: Any = None
) -> PatchGrid:
    """Derives the arguments that are None from the receptive field of the coarse model.

    Without an offset, patches are centered on the receptive field; a remaining pixel is behind it.

    Example:
    >>> model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(4, 5, 2)])
    >>> patch_grid(model, size=(8, 8))
    PatchGrid(size=(8, 8), stride=(2, 2), offset=(1, 1))
    """
    if size is not None and offset is not None and stride is not None:
        return PatchGrid(size, stride, offset)
    try:
        field = receptive_field(coarse)
    except ValueError as error:
        raise ValueError(
            "`patch_size`, `offset` and `stride` must be set if the receptive field of `coarse` "
            f"cannot be computed. {error} "
            f"Received: patch_size={size}, offset={offset}, stride={stride}"
        ) from error
    size = field.size if size is None else size
    if offset is None:
        axes = zip(size, field.size, field.start, strict=True)
        offset = tuple((side - seen) // 2 - start for side, seen, start in axes)
    return PatchGrid(size, field.stride if stride is None else stride, offset)


def _validate_offset(offset: Any) -> Pair | None:
    """Returns two integers of any sign, from one or two, or None."""
    if offset is None:
        return None
    if is_integer(offset):
        return int(offset), int(offset)
    if isinstance(offset, Sequence) and len(offset) == 2 and all(map(is_integer, offset)):
        return int(offset[0]), int(offset[1])
    raise ValueError(f"`offset` must be an integer or two of them. Received: offset={offset!r}")


def _validate_output_indices(outputs: Any) -> tuple[int, ...]:
    """Returns the indices of outputs, without repetitions, as a tuple."""
    values = tuple(outputs) if isinstance(outputs, (list, tuple)) else ()
    if values and all(map(is_integer, values)) and len(set(values)) == len(values):
        return tuple(int(index) for index in values)
    raise ValueError(
        "`outputs` must be None or a list of different indices of the outputs of `top`. "
        f"Received: outputs={outputs!r}"
    )


def _validate_options(
    combine: str, fine_top: keras.Model | None, convex: bool, hint_weight: float
) -> None:
    """Raises a ValueError for options that exclude each other."""
    if convex and hint_weight > 1.0:
        raise ValueError(
            "`hint_weight` must be from 0 to 1 if `convex` is True. "
            f"Received: hint_weight={hint_weight}"
        )
    if fine_top is not None and combine == "swap":
        raise ValueError(
            "`fine_top` must be None unless combine='fine_only': with 'swap', `top` receives the "
            "fine vectors. "
            f"Received: fine_top={fine_top.name!r}"
        )
