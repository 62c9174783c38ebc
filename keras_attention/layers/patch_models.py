"""The models of a patch refiner, and whether they fit."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.layers.map_format import MapFormat, Shape
from keras_attention.layers.patch_place import PatchPlace


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
