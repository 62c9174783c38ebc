"""Fine features for the few places of an image that matter most."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.graph.receptive_field import receptive_field
from keras_attention.layers.entropy_saliency import WAYS, SalientTop, check_outputs
from keras_attention.ops.attend_rectify import scaled_gradient
from keras_attention.ops.dynamic_capacity import (
    gather_patches,
    hint,
    swap,
    top_positions,
    vectors_at,
)
from keras_attention.utils.data_format import MapFormat, Shape
from keras_attention.utils.validation import (
    checked_shape,
    flag,
    is_integer,
    map_spec,
    non_negative_number,
    one_of,
    positive_integer,
    positive_integers,
    standard_data_format,
    taken_map,
)

Tensor = Any
COMBINES = ("swap", "fine_only")
PARTS = ("coarse", "fine", "top", "fine_top")
Pair = tuple[int, int]


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


@keras.saving.register_keras_serializable(package="keras_attention")
class PatchRefiner(ReplicaLosses):
    """Looks at an image coarsely, then finely where the answer is most uncertain (section 2).

    `top(coarse(images))` is a first answer. The places of the coarse map with which its entropy
    changes most get what `fine` makes of their patches instead, and `top` answers again. Nothing
    but these patches is read a second time, and no gradient flows through the choice.

    Args:
        coarse: Keras model from an image to a map of vectors.
        fine: Keras model from a patch to a vector of the same length, `(D,)` or `(1, 1, D)`.
        top: Keras model from the map to probabilities or logits, or to a list of several answers.
        patches: How many places; 8 by default, the paper's for cluttered digits. Where the size of
            the map is not known before, at most as many as it has.
        patch_size: Height and width of a patch in pixels, one integer for both; None (default) for
            what a place of the coarse map sees.
        offset: How many pixels before `place * stride` a patch starts, one integer for both axes;
            None (default) puts what a place sees in its middle.
        combine: `"swap"` (default, equations 7 and 8), or `"fine_only"`: the fine vectors alone, as
            a map `(B, patches, 1, D)`, go to the top, as for house numbers (section 4.2.2).
        hint_weight: Of the squared distance between coarse and fine vectors (equation 6), which is
            added in training and reaches the coarse layers only; 0.01 by default, as in the
            authors' code. 0 is "DCN without hints".
        stride: Pixels from one place of the map to the next; None (default) as the layers of
            `coarse` tell.
        convex: Whether the loss counts for the coarse layers `1 - hint_weight` times, a convex
            combination with the hint (appendix 6.1); False by default, as in the authors' code.
        jitter: In training offsets are drawn from `offset` to `offset + jitter`, for each patch and
            axis; 0 by default, 1 in the authors' code.
        fine_top: With `"fine_only"` what the fine vectors go to; None (default) for `top`.
        from_logits: Whether `top` returns logits; None (default) finds out by its last layer.
        outputs: Which of several answers count in the entropy (equation 10); None for all.
        saliency: `"derived"` for a backward pass written in forward operations, which exports to
            ONNX and LiteRT; `"autodiff"` for the backend's gradients, for any top; `"auto"`
            (default) for the first where the layers of `top` allow it.
        saliency_training: Whether the saliency in training is by the statistics of the batch, as in
            the authors' code; False by default: by those of inference.
        epsilon: Added to the squared norm of the gradient; 0 by default, 1e-8 in the authors' code.
        fused: Whether one image at a time, of known sides, is compiled by XLA where it is served;
            for small models, whose calls cost more than what they compute. False by default.
        include_top: Whether to answer; else the refined map is returned.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        images: Batch of images.
        return_attention: Whether to return the saliency too, `(B, s1, s2)`, float32, and the
            positions, `(B, k, 2)`, int32, row and column in the map, the most salient first.

    Weights:
        Those of the models. In training the metric `hint` is the mean squared distance of equation
        6, whatever its weight; on JAX, whose steps know no metrics of layers, there is none.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None where the models
        allow it.

    Output shape:
        What `top` returns, or `fine_top`; without top that of the coarse map, `(B, patches, 1, D)`
        with `"fine_only"`.

    Raises:
        ValueError: For arguments that cannot be, vectors of different lengths, more patches than
            places, or layers that do not tell what was left to them.

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
    >>> answer, saliency, positions = layer(ops.ones((2, 40, 32, 1)), return_attention=True)
    >>> tuple(answer.shape), tuple(saliency.shape), tuple(positions.shape)
    ((2, 10), (2, 9, 7), (2, 4, 2))

    Reference:
        Almahairi et al., Dynamic Capacity Networks (2016).
    """

    # What `return_attention` adds, in order.
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
        self.coarse = checked_model("coarse", coarse)
        self.fine = checked_model("fine", fine)
        self.top = checked_model("top", top)
        self.patches = positive_integer("patches", patches)
        self.patch_size = checked_pair("patch_size", patch_size)
        self.offset = checked_offset(offset)
        self.combine = one_of("combine", combine, COMBINES)
        self.hint_weight = non_negative_number("hint_weight", hint_weight)
        self.stride = checked_pair("stride", stride)
        self.convex = flag("convex", convex)
        self.jitter = checked_count("jitter", jitter)
        self.fine_top = None if fine_top is None else checked_model("fine_top", fine_top)
        self.from_logits = None if from_logits is None else flag("from_logits", from_logits)
        self.outputs = None if outputs is None else checked_outputs(outputs)
        self.saliency = one_of("saliency", saliency, WAYS)
        self.saliency_training = flag("saliency_training", saliency_training)
        self.epsilon = non_negative_number("epsilon", epsilon)
        self.fused = flag("fused", fused)
        self.include_top = flag("include_top", include_top)
        self.data_format = standard_data_format(data_format)
        check_ways(self.combine, self.fine_top, self.convex, self.hint_weight)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        kept = backend.keeps_metrics_of_layers()
        self.hint_metric = keras.metrics.Mean(name="hint") if kept else None
        self.seed_generator = keras.random.SeedGenerator() if self.jitter else None
        self._large_enough: set[Shape] = set()
        self._too_small: set[tuple[int, int]] = set()  # said once each
        self._alone = {
            asked: backend.fused_alone(self._inference(asked)) for asked in (False, True)
        }

    def build(self, input_shape: Shape) -> None:
        images = checked_shape(self, input_shape, MapFormat(self.data_format).channel_axis)
        self.input_spec = map_spec(images, MapFormat(self.data_format).channel_axis)
        parts = (self.coarse, self.fine, self.top, self.fine_top)
        self._models = PatchModels(*parts, MapFormat(self.data_format))
        self._models.build_coarse(images)
        self.place = patch_place(self.coarse, self.patch_size, self.offset, self.stride)
        self._models.build(images, self.place, self.patches)
        has_one_length = self.combine == "swap" or self.hint_weight > 0.0 or self.fine_top is None
        self._compares = self._models.compare(images, self.place, has_one_length)
        features = self.coarse.compute_output_shape(images)
        self._check_places(features)
        answers = self.top.compute_output_spec(keras.KerasTensor(features, self.compute_dtype))
        check_outputs(self.outputs, answers)
        self._look = SalientTop(
            self.top,
            self.saliency,
            self.from_logits,
            self.outputs,
            self.epsilon,
            self.data_format,
        )

    def _check_places(self, features: Shape) -> None:
        height, width, _ = self._models.format.sides(features)
        if height is not None and width is not None and self.patches > height * width:
            raise ValueError(
                f"`patches` must be at most {height * width}, the places of the coarse map of "
                f"{height} x {width}. Received: patches={self.patches}"
            )

    def _inference(self, return_attention: bool) -> Callable[[Tensor], Any]:
        return lambda images: self._refined(images, False, return_attention)

    def call(
        self, images: Tensor, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        images = taken_map(self, images)
        self._check_size(tuple(images.shape))
        if self.fused and not training:
            return self._alone[bool(return_attention)](images)
        return self._refined(images, training, return_attention)

    def _check_size(self, images: Shape) -> None:
        sides = self._models.format.sides(images)[:2]
        if None not in sides and sides not in self._large_enough:
            self._models.check_images(images)
            self._large_enough.add(sides)

    def _refined(self, images: Tensor, training: bool | None, return_attention: bool) -> Any:
        features = self.coarse(images, training=training)
        saliency, values = self._saliency_of(features, bool(training))
        positions = top_positions(saliency, self._count(saliency))
        fine = self._refined_vectors(images, positions, training)
        maps = self._models.format.to_last(features)
        if training and self._compares:
            self._learn_hint(vectors_at(maps, positions), fine)
        if training and self.convex:
            maps = scaled_gradient(maps, 1.0 - self.hint_weight)
        answer = self._answer(maps, positions, fine, training, values)
        return (answer, saliency, positions) if return_attention else answer

    def _saliency_of(self, features: Tensor, training: bool) -> tuple[Tensor, Any]:
        """The saliency, and what the first look computed that the answer can use."""
        if not training:
            return self._look.look(features)
        features = ops.stop_gradient(features)
        if self.saliency_training:
            return self._look.look_in_training(features), None
        return self._look.look(features)[0], None

    def _count(self, saliency: Tensor) -> Any:
        """How many patches there can be."""
        height, width = ops.shape(saliency)[1:3]
        if not (isinstance(height, int) and isinstance(width, int)):
            return ops.minimum(self.patches, height * width)
        if height * width < self.patches and (height, width) not in self._too_small:
            self._too_small.add((height, width))
            told = (self.name, height * width, height, width, self.patches)
            logging.getLogger(__name__).warning(
                "%s refines all %d places of a map of %d x %d: patches=%d are more.", *told
            )
        return min(self.patches, height * width)

    def _refined_vectors(self, images: Tensor, positions: Tensor, training: bool | None) -> Tensor:
        """What the fine layers make of the patches, `(B, k, D)`."""
        place: PatchPlace = self.place
        offset: Any = place.offset
        if training and self.jitter:
            more = keras.random.randint(
                ops.shape(positions), 0, self.jitter + 1, "int32", self.seed_generator
            )
            offset = more + np.array(offset, "int32")
        patches = gather_patches(
            images, positions, place.size, place.stride, offset, self.data_format
        )
        flat = ops.reshape(patches, (-1, *patches.shape[2:]))
        vectors = self.fine(flat, training=training)
        depth = self._models.format.length(vectors.shape)
        return ops.reshape(vectors, (-1, ops.shape(positions)[1], depth))

    def _learn_hint(self, coarse: Tensor, fine: Tensor) -> None:
        distance = hint(coarse, fine)
        if self.hint_metric is not None:
            self.hint_metric.update_state(ops.stop_gradient(distance))
        if self.hint_weight > 0.0:
            self.add_loss(self.hint_weight * distance)

    def _answer(
        self, maps: Tensor, positions: Tensor, fine: Tensor, training: bool | None, values: Any
    ) -> Any:
        """What the top says of the refined map; maps have their channels last."""
        if self.combine == "fine_only":
            return self._said(self.fine_top or self.top, fine[:, :, None, :], training)
        if values is not None and self.include_top:
            answer = self._look.updated(values, maps, positions, fine)
            if answer is not None:
                return answer
        return self._said(self.top, swap(maps, positions, fine), training)

    def _said(self, top: keras.Model, maps: Tensor, training: bool | None) -> Any:
        maps = self._models.format.from_last(maps)
        return top(maps, training=training) if self.include_top else maps

    def work(
        self, input_shape: Shape, executed: bool = False
    ) -> tuple[list[tuple[keras.Model, Shape, int]], int]:
        """How often each model runs for one image, for counts of multiply-accumulates.

        A backward pass through the top counts as much as a forward pass.

        Args:
            input_shape: Of the images, with the batch.
            executed: Whether what is saved by computing again only what has changed counts.

        Returns:
            A list of model, shape of its input without the batch, and times; and what is added.
        """
        images, models = tuple(input_shape), self._models
        features = tuple(self.coarse.compute_output_shape(images))
        height, width, _ = models.format.sides(features)
        count = min(self.patches, height * width)
        parts = [(self.coarse, images[1:], 1)]
        parts.append((self.fine, models.patch(images, self.place)[1:], count))
        parts.append((self.top, features[1:], 2))
        if not self.include_top:
            return parts, 0
        if self.combine == "fine_only":
            shape = models.vectors(images, self.place, count)[1:]
            return [*parts, (self.fine_top or self.top, shape, 1)], 0
        parts[-1] = (self.top, features[1:], 3)
        saved = self._look.saved(count, self._look.places_of(features)) if executed else 0
        return parts, -max(saved, 0)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        specification = self.compute_output_spec(keras.KerasTensor(input_shape))
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), specification)

    def compute_output_spec(
        self, images: Any, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        images = keras.KerasTensor(images.shape, self.compute_dtype)
        features = self.coarse.compute_output_spec(images)
        height, width, _ = self._models.format.sides(features.shape)
        count = self.patches if height and width else None
        top, maps = self.top, features
        if self.combine == "fine_only":
            top = self.fine_top or top
            shape = self._models.vectors(images.shape, self.place, count)
            patch = self._models.patch(images.shape, self.place)
            vectors = self.fine.compute_output_spec(keras.KerasTensor(patch, self.compute_dtype))
            maps = keras.KerasTensor(shape, vectors.dtype)
        answer = top.compute_output_spec(maps) if self.include_top else maps
        if not return_attention:
            return answer
        batch = images.shape[0]
        saliency = keras.KerasTensor((batch, height, width), "float32")
        return answer, saliency, keras.KerasTensor((batch, count, 2), "int32")

    def get_config(self) -> dict[str, Any]:
        models = {name: getattr(self, name) for name in PARTS}
        return {
            **super().get_config(),
            **{
                name: None if model is None else keras.saving.serialize_keras_object(model)
                for name, model in models.items()
            },
            "patches": self.patches,
            "patch_size": self.patch_size,
            "offset": self.offset,
            "combine": self.combine,
            "hint_weight": self.hint_weight,
            "stride": self.stride,
            "convex": self.convex,
            "jitter": self.jitter,
            "from_logits": self.from_logits,
            "outputs": self.outputs,
            "saliency": self.saliency,
            "saliency_training": self.saliency_training,
            "epsilon": self.epsilon,
            "fused": self.fused,
            "include_top": self.include_top,
            "data_format": self.data_format,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PatchRefiner":
        config = dict(config)
        for name in PARTS:
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


@dataclass(frozen=True)
class PatchModels:
    """From images to a map, from patches to vectors, and from both to answers.

    Attributes:
        coarse: From an image to a map.
        fine: From a patch to a vector.
        top: From the map to answers.
        fine_top: From the fine vectors alone, a map `(k, 1)`, to answers; None for `top`.
        format: Of images and maps.
    """

    coarse: keras.Model
    fine: keras.Model
    top: keras.Model
    fine_top: keras.Model | None
    format: MapFormat

    def check_images(self, images: Shape) -> None:
        """Refuses images that are too small for the coarse layers to look at a place."""
        try:
            sides = self.format.sides(tuple(self.coarse.compute_output_shape(images)))[:2]
        except ValueError:
            sides = (0, 0)
        if any(side is not None and side < 1 for side in sides):
            raise ValueError(
                f"Images must be large enough for {self.coarse.name!r} to make a map of one place. "
                f"Received: images of shape {images}"
            )

    def build(self, images: Shape, place: PatchPlace, patches: int) -> None:
        """Makes the weights that are not there yet.

        Raises:
            ValueError: For a coarse model that makes no map.
        """
        _build(self.fine, self.patch(images, place))
        features = tuple(self.coarse.compute_output_shape(images))
        if len(features) != 4 or self.format.length(features) is None:
            raise ValueError(
                "`coarse` must return a map of vectors of known length. "
                f"Received: {self.coarse.name!r}, which returns {features}"
            )
        _build(self.top, features)
        if self.fine_top is not None:
            _build(self.fine_top, self.vectors(images, place, patches))

    def build_coarse(self, images: Shape) -> None:
        """Makes the weights of the coarse model, whose layers tell where patches lie."""
        _build(self.coarse, images)

    def patch(self, images: Any, place: PatchPlace) -> Shape:
        """The shape of patches."""
        return self.format.shape(None, *place.size, self.format.sides(tuple(images))[2])

    def vectors(self, images: Any, place: PatchPlace, patches: Any) -> Shape:
        """The shape of the map that the fine vectors of an image make."""
        fine = self.fine.compute_output_shape(self.patch(images, place))
        return self.format.shape(images[0], patches, 1, self.format.length(tuple(fine)))

    def compare(self, images: Shape, place: PatchPlace, needed: bool) -> bool:
        """Whether coarse and fine vectors are of one length.

        Args:
            images: The shape of the images.
            place: Of the patches.
            needed: Whether they have to be.

        Raises:
            ValueError: Where they are not and have to be, or `fine` makes no vector.
        """
        fine = tuple(self.fine.compute_output_shape(self.patch(images, place)))
        alone = len(fine) == 2 or (len(fine) == 4 and self.format.sides(fine)[:2] == (1, 1))
        if not alone or self.format.length(fine) is None:
            raise ValueError(
                f"`fine` must make one vector of a patch of {place.size} pixels. "
                f"Received: {self.fine.name!r}, which returns {fine}"
            )
        depth = self.format.length(self.coarse.compute_output_shape(images))
        if needed and self.format.length(fine) != depth:
            raise ValueError(
                f"`fine` must return vectors of {depth} values, as `coarse` does; others go to a "
                "`fine_top` with combine='fine_only' and hint_weight=0. "
                f"Received: {self.fine.name!r}, which returns {fine}"
            )
        return self.format.length(fine) == depth


def _build(model: keras.Model, shape: Shape) -> None:
    if not model.built:
        model.build(shape)


@dataclass(frozen=True)
class PatchPlace:
    """Place `i` has the `size` pixels from `i * stride - offset`, on each axis.

    Attributes:
        size: Height and width of a patch.
        stride: Pixels from one place to the next.
        offset: Pixels before `i * stride` that the patch starts.
    """

    size: Pair
    stride: Pair
    offset: Pair


def patch_place(
    coarse: keras.Model, size: Any = None, offset: Any = None, stride: Any = None
) -> PatchPlace:
    """Fills in what was not said from what a place of the coarse map sees.

    Args:
        coarse: From the image to the map.
        size: Of a patch; None for what a place sees.
        offset: None puts what a place sees in the middle of the patch; one pixel that is left over
            goes behind it.
        stride: None for that of the model.

    Raises:
        ValueError: Where the layers of the model do not tell and not all is said.

    Example:
    >>> model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(4, 5, 2)])
    >>> patch_place(model, size=(8, 8))
    PatchPlace(size=(8, 8), stride=(2, 2), offset=(1, 1))
    """
    if size is not None and offset is not None and stride is not None:
        return PatchPlace(size, stride, offset)
    try:
        field = receptive_field(coarse)
    except ValueError as error:
        raise ValueError(
            "`patch_size`, `offset` and `stride` must be given: they cannot be derived from "
            f"`coarse`. {error} Received: patch_size={size}, offset={offset}, stride={stride}"
        ) from error
    size = field.size if size is None else size
    if offset is None:
        parts = zip(size, field.size, field.start, strict=True)
        rows, columns = ((side - seen) // 2 - start for side, seen, start in parts)
        offset = (rows, columns)
    return PatchPlace(size, field.stride if stride is None else stride, offset)


def checked_pair(argument: str, value: Any) -> Pair | None:
    """Two positive integers from one or two, or None."""
    return None if value is None else positive_integers(argument, value, 2)


def checked_offset(offset: Any) -> Pair | None:
    """Two integers of any sign from one or two, or None."""
    if offset is None:
        return None
    if is_integer(offset):
        return int(offset), int(offset)
    if isinstance(offset, Sequence) and len(offset) == 2 and all(map(is_integer, offset)):
        return int(offset[0]), int(offset[1])
    raise ValueError(f"`offset` must be an integer or two of them. Received: offset={offset!r}")


def checked_model(argument: str, model: Any) -> keras.Model:
    """Returns a Keras model.

    Raises:
        ValueError: For anything else.
    """
    if isinstance(model, keras.Model):
        return model
    raise ValueError(f"`{argument}` must be a Keras model. Received: {argument}={model!r}")


def checked_count(argument: str, value: Any) -> int:
    """Returns an integer from 0 on.

    Raises:
        ValueError: For anything else.
    """
    if is_integer(value) and int(value) >= 0:
        return int(value)
    raise ValueError(f"`{argument}` must be an integer, 0 or more. Received: {argument}={value!r}")


def checked_outputs(outputs: Any) -> tuple[int, ...]:
    """Returns the places of answers that count.

    Raises:
        ValueError: For none, or the same one twice.
    """
    values = tuple(outputs) if isinstance(outputs, (list, tuple)) else ()
    if values and all(map(is_integer, values)) and len(set(values)) == len(values):
        return tuple(int(index) for index in values)
    raise ValueError(
        "`outputs` must be None or a list of different integers, the places of the answers that "
        f"count. Received: outputs={outputs!r}"
    )


def check_ways(
    combine: str, fine_top: keras.Model | None, convex: bool, hint_weight: float
) -> None:
    """Refuses arguments that do not go together."""
    if convex and hint_weight > 1.0:
        raise ValueError(
            "`hint_weight` must be from 0 to 1 where `convex` is True. "
            f"Received: hint_weight={hint_weight}"
        )
    if fine_top is not None and combine == "swap":
        raise ValueError(
            "`fine_top` is for combine='fine_only'; with 'swap' fine vectors go to `top`. "
            f"Received: fine_top={fine_top.name!r}"
        )
