"""Copies and rebuilt models compute the same values, whatever the model consists of."""

import re

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.graph.functional import copy_model, inputs_like, replay
from tests.graph.models import (
    NETWORKS,
    WITH_IMAGES,
    WITHOUT_IMAGES,
    Scale,
    inputs_of,
    model_of,
)
from tests.harness import cross_section

slow_networks = [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
every_model = pytest.mark.parametrize("name", [*WITH_IMAGES, *WITHOUT_IMAGES, *slow_networks])
some_image_models = cross_section(WITH_IMAGES, fast={"arguments", "across_levels"})
every_image_model = pytest.mark.parametrize("name", [*some_image_models, *slow_networks])


def values(model, name):
    outputs = model(inputs_of(name), training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def check_equal(model, name, tolerance=0.0, keeps_structure=True):
    """The outputs are those of the original model, in the same structure."""
    expected, found = values(model_of(name), name), values(model, name)
    if keeps_structure:
        keras.tree.assert_same_structure(expected, found)
    for want, have in zip(keras.tree.flatten(expected), keras.tree.flatten(found), strict=True):
        scale = max(1.0, np.abs(want).max())
        np.testing.assert_allclose(have, want, rtol=0, atol=tolerance * scale)


def check_names(model, name):
    """The names of model, inputs and weights are kept, and their order."""
    original = model_of(name)
    assert model.name == original.name
    names = [[x._keras_history.operation.name for x in m.inputs] for m in (model, original)]
    assert names[0] == names[1]
    # Weights without a name of their own are numbered.
    names = [[re.sub(r"_\d+$", "", w.name) for w in m.weights] for m in (model, original)]
    assert names[0] == names[1]


@every_model
def test_a_rebuilt_copy_is_equal(name):
    original = model_of(name)
    copied = copy_model(original)
    inputs = inputs_like(copied)
    rebuilt = copy_model(keras.Model(inputs, replay(copied, inputs), name=copied.name))
    for model in (copied, rebuilt):
        check_equal(model, name)
        check_names(model, name)
        trainable = [weight.trainable for weight in original.weights]
        assert [weight.trainable for weight in model.weights] == trainable


def test_seeds_continue():
    def states(model):
        weights = {id(weight) for weight in model.weights}
        states = [v.numpy() for v in model.variables if id(v) not in weights]
        return np.concatenate(states)

    original = model_of("preprocessing")
    fresh = keras.models.clone_model(original)
    np.testing.assert_array_equal(states(copy_model(original)), states(original))
    assert not np.array_equal(states(fresh), states(original))


@every_image_model
def test_attention_that_starts_as_an_identity(name):
    new_model = ka.surgery.add_attention(model_of(name), "bam", "full", identity=True)
    check_equal(new_model, name, 1e-6)
    assert any("attention" in weight.path for weight in new_model.weights)


# ConvNeXtTiny has strided and grouped convolutions only.
@pytest.mark.parametrize("name", [*some_image_models, *slow_networks[:2]])
def test_windows_that_pass_everything(name):
    new_model = ka.surgery.to_targeted(model_of(name), roi="full")
    targets = [x for x in new_model._flatten_layers() if isinstance(x, ka.layers.TargetLayer)]
    assert targets
    for layer in targets:
        layer.scale.assign(np.full(layer.scale.shape, 1e4))
    check_equal(new_model, name, 1e-5)
    check_equal(ka.surgery.compact(new_model), name, 1e-5)


@every_model
def test_folded_batch_normalization(name):
    check_equal(ka.surgery.fold_batch_normalization(model_of(name)), name, 1e-5)


@every_model
def test_the_model_does_not_change(name):
    """No surgery above has changed the model; a copy of it calls no layer of it."""
    model = model_of(name)
    config, count = str(model.get_config()), sum(len(x._inbound_nodes) for x in model.layers)
    copy_model(model)
    assert str(model.get_config()) == config
    if name != "across_levels":  # which is flattened first
        assert sum(len(x._inbound_nodes) for x in model.layers) == count


# Keras cannot save `across_levels` itself. The layer `Scale` has no `build`.
@pytest.mark.filterwarnings("ignore:.*build.* was called on layer")
@pytest.mark.parametrize(
    "name",
    cross_section(["shared", "across_levels", "structures", "arguments"], fast={"across_levels"}),
)
def test_ordinary_models_come_out(name, tmp_path):
    """The new model is saved, loaded, cloned, copied, changed again and trained."""
    model = ka.surgery.add_attention(model_of(name), "san-d", "full", identity=True)
    with keras.saving.custom_object_scope({"Scale": Scale}):
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        check_equal(loaded, name, 1e-6, keeps_structure=False)  # Keras turns tuples into lists
        clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    check_equal(clone, name, 1e-6)
    check_equal(copy_model(model), name, 1e-6)
    check_equal(ka.surgery.add_attention(model, "cbam", "full", identity=True), name, 1e-6)
    layer = next(layer for layer in model.layers if layer.name.endswith("_rezero"))
    keras.Model(model.inputs, layer.output)
    if name != "structures":  # Keras has no losses for tuples of outputs
        model.compile("sgd", "mse")
        model.fit(inputs_of(name), np.zeros_like(values(model, name)), verbose=0)
