"""Folded models compute the same outputs without batch normalization."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests import harness

layers = keras.layers


def settled(model):
    """Changes the initial statistics, with which a normalization does nothing."""
    harness.jitter(model)
    generator = np.random.default_rng(2)
    for weight in model.non_trainable_weights:
        weight.assign(generator.uniform(0.5, 2.0, weight.shape))
    return model


def normalizations(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


MODELS = {
    "convolutions": lambda: [
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(6, 3, padding="same", groups=2),
        layers.BatchNormalization(scale=False),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
        layers.BatchNormalization(center=False),
        layers.Softmax(),
    ],
    "a model inside": lambda: [
        keras.Sequential([keras.Input((8, 7, 2)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    ],
}


@pytest.mark.parametrize("name", MODELS)
def test_folded_models_compute_the_same(name, rng):
    model = settled(keras.Sequential([keras.Input((8, 7, 2)), *MODELS[name]()]))
    folded = ka.surgery.fold_batch_normalization(model)
    x = rng.normal(size=(3, 8, 7, 2)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), atol=1e-5)
    assert not normalizations(folded)
    assert not any(normalizations(part) for part in folded.layers if hasattr(part, "layers"))


def test_what_cannot_be_folded_stays(rng):
    inputs = keras.Input((8, 7, 2))
    first = layers.Conv2D(2, 3, activation="relu")(inputs)  # the activation comes between
    second = layers.Conv2D(2, 1)(layers.BatchNormalization()(first))  # read twice
    third = layers.BatchNormalization()(second)
    shared = layers.Conv2D(2, 1)
    both = layers.Add()([second, layers.BatchNormalization()(shared(third)), shared(third)])
    last = layers.BatchNormalization(axis=1)(layers.Conv2D(2, 1)(both))
    model = settled(keras.Model(inputs, last))
    folded = ka.surgery.fold_batch_normalization(model)
    x = rng.normal(size=(3, 8, 7, 2)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), atol=1e-5)
    assert len(normalizations(folded)) == 4


def test_networks(rng):
    model = settled(ka.applications.ResNet18(input_shape=(16, 12, 3), width=4, stem="cifar"))
    folded = ka.surgery.fold_batch_normalization(model)
    x = rng.uniform(size=(2, 16, 12, 3)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), atol=1e-5)
    assert not normalizations(folded)


def test_the_parts_of_a_refiner(rng):
    def part(*more):
        made = [layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
        return keras.Sequential([keras.Input((None, None, made[0].filters)), *made, *more])

    coarse = keras.Sequential(
        [keras.Input((20, 18, 1)), layers.Conv2D(4, 3, 2), layers.BatchNormalization()]
    )
    fine = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.GlobalMaxPooling2D(),
        ]
    )
    top = part(layers.GlobalMaxPooling2D(), layers.Dense(3, activation="softmax"))
    inputs = keras.Input((20, 18, 1))
    refiner = ka.layers.PatchRefiner(coarse, fine, top, patches=3, patch_size=5)
    model = settled(keras.Model(inputs, refiner(inputs)))
    folded = ka.surgery.fold_batch_normalization(model)
    x = rng.normal(size=(3, 20, 18, 1)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), atol=1e-5)
    new = folded.layers[-1]
    assert not any(normalizations(part) for part in (new.coarse, new.fine, new.top))
    assert normalizations(refiner.top), "the model itself stays"


def test_quantized_layers_stay(rng):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    model.layers[0].quantize("int8")
    folded = ka.surgery.fold_batch_normalization(settled(model))
    x = rng.normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), atol=1e-5)
    assert normalizations(folded)


def test_normalization_by_batch_statistics_stays(rng):
    inputs = keras.Input((8, 7, 2))
    x = layers.BatchNormalization()(layers.Conv2D(2, 3)(inputs), training=True)
    model = settled(keras.Model(inputs, x))
    folded = ka.surgery.fold_batch_normalization(model)
    x = rng.normal(size=(3, 8, 7, 2)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), atol=1e-5)
    assert normalizations(folded)


def test_bad_models():
    with pytest.raises(ValueError, match="functional or sequential"):
        ka.surgery.fold_batch_normalization(layers.Dense(2))
