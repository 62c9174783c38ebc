"""XLA, with which Keras compiles on GPUs: models of every surgery, for several sizes in a row."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import cross_section, slow_on_jax

L = keras.layers
SIZES = [(16, 16), (20, 12), (9, 9)]


def residual(height, width):
    """A residual network that accepts every size, with an operation in its graph."""
    inputs = keras.Input((height, width, 3))
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs * 2.0)
    y = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, padding="same", name="conv")(x))
    x = L.MaxPooling2D(padding="same")(L.ReLU(name="block")(L.Add()([x, y])))
    x = L.Conv2D(6, 3, padding="same", activation="relu", name="last")(x)
    return keras.Model(inputs, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(x)))


def attention(name, placement, **options):
    return lambda model: ka.surgery.add_attention(model, name, placement, **options)


def distilled(model):
    teacher = keras.models.clone_model(model)
    return ka.training.AttentionDistiller(model, teacher, ["block", "last"], alpha=0.5)


SURGERIES = {
    **{
        f"{name}, {placement}": attention(name, placement, identity=identity)
        for name in ("cbam", "bam", "san-c", "san-d")
        for placement, identity in (("bottleneck", False), ("full", True), ("block", True))
    },
    "to_targeted": lambda model: ka.surgery.to_targeted(model, identity=True),
    "masked": lambda model: ka.surgery.to_targeted(model, roi="mask"),
    "add_attend_rectify": lambda model: ka.surgery.add_attend_rectify(model, 1, classes=3),
    "with_attention": lambda model: ka.surgery.add_attend_rectify(model, ["block", "last"], 3),
    "compact": lambda model: ka.surgery.compact(ka.surgery.to_targeted(model)),
    "fold": ka.surgery.fold_batch_normalization,
    "distiller": distilled,
}
FAST = {"fold", "compact"}  # target layers themselves: tests/layers/test_all_layers.py
every_surgery = pytest.mark.parametrize(
    ("name", "surgery"), cross_section(SURGERIES.items(), fast=FAST), ids=SURGERIES
)


@slow_on_jax
@every_surgery
def test_unknown_sizes(name, surgery, rng):
    if name == "compact":  # computes the regions of one size
        with pytest.raises(ValueError, match=r"requires the size of the map.*Pass `input_shape`"):
            surgery(residual(None, None))
        return
    check(surgery(residual(None, None)), SIZES, rng, maps=name == "with_attention")


@pytest.mark.parametrize(
    ("name", "surgery"), cross_section(SURGERIES.items(), fast={"compact"}), ids=SURGERIES
)
def test_known_sizes(name, surgery, rng):
    check(surgery(residual(16, 12)), [(16, 12)], rng, maps=name == "with_attention")


def check(model, sizes, rng, maps=False):
    """Trains and predicts with XLA, and compares with eager calls."""
    batches = [rng.uniform(size=(4, *size, 3)).astype("float32") for size in sizes]
    optimizer = keras.optimizers.SGD(1e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=True)
    for x in batches:
        assert np.isfinite(model.train_on_batch(x, np.arange(4) % 3)).all()
    if maps:
        model = ka.inspect.with_attention(model)
        model.compile(jit_compile=True)
    for x in batches:
        compiled = keras.tree.flatten(model.predict_on_batch(x))
        eager = keras.tree.flatten(model(x, training=False))
        for one, other in zip(compiled, eager, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
