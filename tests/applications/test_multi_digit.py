"""SVHNCoarse, SVHNFine and SVHNDCN: layers of the paper, any size, several outputs and scales."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import EAGERLY, ON_TENSORFLOW, cross_section, jitter, slow_on_jax

SMALL = {"width": 0.1, "digits": 2}
NETWORKS = {"SVHNCoarse": "coarse", "SVHNFine": "fine"}


def images(rng, *sides, count=2):
    return rng.uniform(size=(count, *sides, 1)).astype("float32")


def both():
    """A coarse and a fine network, as if they were trained."""
    models = [ka.applications.build(name, **SMALL) for name in NETWORKS]
    for model in models:
        jitter(model)
    return models


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("SVHNCoarse", 2_131_292), ("SVHNFine", 4_917_628), ("SVHNDCN", 7_048_920)],
)
def test_parameters(name, parameters):
    assert ka.inspect.trainable_parameters(ka.applications.build(name)) == parameters


def test_layers_of_the_paper():
    model = ka.applications.SVHNCoarse((54, 110, 1), include_top=False)
    assert model.output_shape == (None, 1, 1, 1024)
    found = [layer for layer in model.get_layer("coarse").layers if hasattr(layer, "kernel")]
    assert [layer.filters for layer in found] == [24, 48, 128, 192, 192, 1024, 1024]
    assert {layer.padding for layer in found} == {"valid"}
    model = ka.applications.SVHNFine((54, 110, 1), include_top=False)
    assert model.output_shape == (None, 1, 8, 1024)
    found = [layer for layer in model.get_layer("fine").layers if hasattr(layer, "kernel")]
    assert [layer.filters for layer in found] == [48, 64, 128, 160, 192, 192, 192, 192] + [1024] * 3


def test_positions_of_the_patches():
    grid = ka.applications.SVHNDCN(**SMALL).get_layer("refiner").patch_grid
    assert (grid.size, grid.stride, grid.offset) == ((54, 110), (8, 16), (0, 0))


def test_outputs_have_names():
    model = ka.applications.SVHNCoarse(width=0.1)
    assert model.output_names == ["length", *(f"digit{index}" for index in range(1, 6))]
    assert [output.shape[-1] for output in model.outputs] == [5, 11, 11, 11, 11, 11]


@slow_on_jax
@pytest.mark.parametrize("name", cross_section(NETWORKS, fast={"SVHNCoarse"}))
@pytest.mark.parametrize("weighting", ["mean", "entropy"])
def test_means_of_predictions_over_positions(name, weighting, rng):
    """Equations 11 to 14."""
    model = ka.applications.build(name, **SMALL, weighting=weighting)
    part, top = model.get_layer(NETWORKS[name]), model.get_layer("top")
    heads = [layer for layer in top.layers if layer.name.endswith("_map")]
    x = images(rng, 70, 150)
    maps = keras.Model(top.input, [head.output for head in heads])(part(x))
    for head, output in zip(maps, model(x), strict=True):
        values = np.asarray(head)
        assert values[0, ..., 0].size > 1
        inverse = np.ones(values.shape[:3])
        if weighting == "entropy":
            inverse = -1.0 / np.sum(values * np.log(values), axis=-1)
        inverse = inverse / inverse.sum(axis=(1, 2), keepdims=True)
        expected = np.sum(values * inverse[..., None], axis=(1, 2))
        np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize(
    "weighting", cross_section(["mean", "entropy"], ["entropy"]) if ON_TENSORFLOW else ["entropy"]
)
def test_joins_trained_models(weighting, rng, tmp_path):
    """Only the predictions of the fine model on the selected patches count."""
    coarse, fine = both()
    model = ka.applications.SVHNDCN(coarse=coarse, fine=fine, patches=2, weighting=weighting)
    x = images(rng, 80, 160)
    outputs, saliency, positions = model.get_layer("refiner")(x, return_attention=True)
    assert saliency.shape == (2, 4, 4)
    read = ka.ops.gather_patches(x, positions, (54, 110), (8, 16))
    of_each = [fine(read[:, index]) for index in range(2)]
    for index, output in enumerate(outputs):
        values = np.stack([np.asarray(one[index]) for one in of_each], axis=1)
        weights = np.ones((2, 2))
        if weighting == "entropy":
            weights = -1.0 / np.sum(values * np.log(values), axis=-1)
        weights = weights / weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(output, np.sum(values * weights[..., None], axis=1), atol=1e-5)
    model.save(tmp_path / "joined.keras")
    loaded = keras.saving.load_model(tmp_path / "joined.keras")
    for got, expected in zip(loaded(x), outputs, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


@slow_on_jax
def test_the_length_does_not_count_in_the_saliency(rng):
    coarse, fine = both()
    refiner = ka.applications.SVHNDCN(coarse=coarse, fine=fine, patches=1).get_layer("refiner")
    x = images(rng, 70, 150)
    _, before, _ = refiner(x, return_attention=True)
    kernel = coarse.get_layer("top").get_layer("coarse_outputs").kernel
    sizes = [output.shape[-1] for output in coarse.outputs]
    length, first_digit = np.ones((2, sum(sizes)))
    length[: sizes[0]] = first_digit[sizes[0] : sum(sizes[:2])] = 3.0
    kernel.assign(kernel * length)
    _, after, _ = refiner(x, return_attention=True)
    np.testing.assert_array_equal(after, before)
    kernel.assign(kernel * first_digit)
    _, after, _ = refiner(x, return_attention=True)
    assert np.abs(np.asarray(after) - np.asarray(before)).max() > 0


@slow_on_jax
@pytest.mark.parametrize(
    "name", cross_section(["SVHNCoarse", "SVHNFine", "SVHNDCN"], fast={"SVHNCoarse"})
)
def test_scales_are_averaged(name, rng):
    options = {**SMALL, **({"patches": 1} if name == "SVHNDCN" else {})}
    model = ka.applications.build(name, **options, scales=(1.0, 0.75, 0.5))
    x = images(rng, 112, 224)
    every = []
    for scale in (1.0, 0.75, 0.5):
        single = ka.applications.build(name, **options, scales=[scale])
        single.set_weights(model.get_weights())
        every.append(single(x))
    for output, *each in zip(model(x), *every, strict=True):
        np.testing.assert_allclose(output, np.mean(each, axis=0), atol=1e-5)


@slow_on_jax
@pytest.mark.parametrize(
    "name", cross_section(["SVHNCoarse", "SVHNFine", "SVHNDCN"], fast={"SVHNCoarse"})
)
def test_any_size(name, rng):
    """Images smaller than a patch too; if there are fewer positions than patches, all are read."""
    model = ka.applications.build(name, **SMALL)
    for sides in ((20, 31), (54, 110), (60, 300)):
        x = images(rng, *sides)
        outputs = model(x)
        for output, predicted in zip(outputs, model.predict(x, verbose=0), strict=True):
            np.testing.assert_allclose(np.sum(output, axis=-1), 1.0, rtol=1e-5)
            np.testing.assert_allclose(predicted, output, atol=1e-5)
        below, right = max(54 - sides[0], 0), max(110 - sides[1], 0)
        beyond = np.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
        for output, padded in zip(outputs, model(beyond), strict=True):
            np.testing.assert_allclose(padded, output, atol=1e-6)


def test_learns_from_labels_of_a_dataset(rng):
    import tensorflow as tf

    model = ka.applications.SVHNCoarse(width=0.1, digits=3, dropout=0.0, hidden_dropout=0.0)
    labels = np.array([[0, 7, 10, 10], [2, 1, 2, 3], [1, 4, 2, 10], [0, 5, 10, 10]])
    dataset = tf.data.Dataset.from_tensor_slices((images(rng, 54, 110, count=4), labels)).batch(2)
    dataset = dataset.map(lambda x, y: (x, ka.ops.split_sequence_labels(y)))
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=[["accuracy"]] * 4, run_eagerly=EAGERLY)
    history = model.fit(dataset, epochs=3, verbose=0, shuffle=False).history
    assert {"loss", "length_loss", "digit3_accuracy"} <= set(history)
    assert history["loss"][-1] < history["loss"][0]
    numbers = ka.applications.decode_digits(model.predict(dataset, verbose=0))
    assert len(numbers) == 4
    assert all(number.isdigit() for number in numbers)


def test_reads_numbers():
    labels = np.array([[0, 7, 10, 10, 10, 10], [4, 1, 2, 3, 4, 5], [1, 4, 0, 10, 10, 10]])
    expected = ["7", "12345", "40"]
    assert ka.applications.decode_digits(labels) == expected
    sizes = [5, 11, 11, 11, 11, 11]
    outputs = [np.eye(size)[labels[:, index]] for index, size in enumerate(sizes)]
    assert ka.applications.decode_digits(outputs) == expected


@pytest.mark.slow
@slow_on_jax
def test_in_one_graph_with_unknown_sizes(rng):
    """XLA, which fixes sizes when it compiles, gives the same."""
    model = ka.applications.SVHNDCN(**SMALL, patches=2, scales=(1.0, 0.5))
    x = images(rng, 60, 140)
    expected = model(x)
    model.compile(jit_compile=True)
    for got, output in zip(model.predict(x, verbose=0), expected, strict=True):
        np.testing.assert_allclose(got, output, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0.01}, "at least 1 / 24, so that a channel is left. Received: width=0.01"),
        ({"digits": 0}, "Received: digits=0"),
        ({"scales": ()}, r"Received: scales=\(\)"),
        ({"scales": (1, -1)}, "Received: scales=-1"),
        ({"scales": (1.0, 0.5), "include_top": False}, r"Received: scales=\(1.0, 0.5\)"),
        ({"weighting": "max"}, "Received: weighting='max'"),
        ({"dropout": 1}, "Received: dropout=1"),
        ({"hidden_dropout": -1}, "Received: hidden_dropout=-1"),
        ({"classifier_activation": "sigmoid"}, "Received: classifier_activation='sigmoid'"),
    ],
    ids=str,
)
def test_bad_options(arguments, message):
    for name in ("SVHNCoarse", "SVHNFine", "SVHNDCN"):
        with pytest.raises(ValueError, match=message):
            ka.applications.build(name, **{"width": 0.05, **arguments})


def test_models_that_do_not_go_together():
    coarse = ka.applications.SVHNCoarse(width=0.05, digits=2)
    fine = ka.applications.SVHNFine(width=0.05, digits=3)
    with pytest.raises(ValueError, match="must have the same numbers of classes"):
        ka.applications.SVHNDCN(coarse=coarse, fine=fine)
    with pytest.raises(ValueError, match="without a layer 'top'"):
        ka.applications.SVHNDCN(coarse=coarse.get_layer("coarse"))
    with pytest.raises(ValueError, match="Received: 'mine'"):
        ka.applications.SVHNDCN(fine="mine")
