"""DCN, its coarse and its fine model: the authors' numbers, any size, joined parts."""

import json

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.golden import channels_last, golden
from tests.harness import ON_TENSORFLOW, cross_section, slow_on_jax

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
KINDS = {
    "kernel": "weights",
    "gamma": "BatchNorm/gamma",
    "beta": "BatchNorm/beta",
    "moving_mean": "BatchNorm/moving_mean",
    "moving_variance": "BatchNorm/moving_variance",
}


@pytest.fixture
def authors():
    return golden("dcn_original.npz")


def with_weights(model, data):
    """Gives a model the weights of the authors' code."""
    for weight in model.variables:
        layer, _, name = weight.path.rpartition("/")
        layer = layer.rpartition("/")[2].removesuffix("_bn")
        kind = KINDS.get(name)
        if kind:
            (key,) = (key for key in data.files if key.endswith(f"{layer}/{kind}"))
            values = data[key]
            weight.assign(np.transpose(values, (2, 3, 1, 0)) if values.ndim == 4 else values)
    return model


def refined(data, **options):
    model = ka.applications.DCN(
        variant="code", classifier_activation=None, hint_weight=1.0, **options
    )
    with_weights(model, data)
    images = (data["x_uint8"] / 255.0).astype("float32")[..., None]
    return model, images


def in_order(positions, vectors):
    """Indices of positions in a map, sorted, and the vectors in the same order."""
    indices = np.asarray(positions[..., 0] * 23 + positions[..., 1])
    order = np.argsort(indices, axis=-1)
    vectors = np.asarray(vectors)
    index = order.reshape(*order.shape, *(1,) * (vectors.ndim - 2))
    return np.take_along_axis(indices, order, -1), np.take_along_axis(vectors, index, 1)


def patches_of(refiner, images, positions):
    grid = refiner.patch_grid
    return ka.ops.gather_patches(images, positions, grid.size, grid.stride, grid.offset)


def vectors_of(refiner, patches, training):
    flat = keras.ops.reshape(patches, (-1, *patches.shape[2:]))
    return keras.ops.reshape(refiner.fine(flat, training=training), (*patches.shape[:2], -1))


def test_inference_of_the_authors_code(authors):
    model, images = refined(authors, weight_decay=0.0)
    refiner = model.get_layer("refiner")
    logits, saliency, positions = refiner(images, return_attention=True)
    features = refiner.coarse(images)
    patches = patches_of(refiner, images, positions)
    indices, vectors = in_order(positions, vectors_of(refiner, patches, False))
    _, patches = in_order(positions, patches)
    np.testing.assert_allclose(features, channels_last(authors["eval/coarse_features"]), **CLOSE)
    np.testing.assert_allclose(saliency, authors["eval/saliency_M"], **CLOSE)
    np.testing.assert_array_equal(indices, authors["eval/topk_flat_idx_sorted"])
    expected = authors["eval/patches_sorted_by_idx_uint8"]
    np.testing.assert_allclose(patches[..., 0] * 255, expected, atol=1e-3)
    np.testing.assert_allclose(vectors, authors["eval/fine_features_sorted_by_idx"], **CLOSE)
    np.testing.assert_allclose(logits, authors["eval/logits"], **CLOSE)
    np.testing.assert_allclose(model(images), logits, atol=1e-5)


def test_training_of_the_authors_code(authors):
    model, images = refined(authors, weight_decay=0.0, saliency_training=True)
    refiner = model.get_layer("refiner")
    logits, saliency, positions = refiner(images, training=True, return_attention=True)
    features = channels_last(authors["train/coarse_features"])
    patches = patches_of(refiner, images, positions)
    indices, vectors = in_order(positions, vectors_of(refiner, patches, True))
    np.testing.assert_allclose(refiner.coarse(images, training=True)[..., ::4], features, **CLOSE)
    np.testing.assert_allclose(saliency, authors["train/saliency_M"], **CLOSE)
    np.testing.assert_array_equal(indices, authors["train/topk_flat_idx_sorted"])
    np.testing.assert_allclose(vectors, authors["train/fine_features_sorted_by_idx"], **CLOSE)
    np.testing.assert_allclose(logits, authors["train/logits"], **CLOSE)
    (hint,) = model.losses
    np.testing.assert_allclose(hint, authors["train/hint_loss"], rtol=1e-4)


def test_losses_of_the_authors_code(authors):
    model, images = refined(authors)
    refiner = model.get_layer("refiner")
    logits, _, positions = refiner(images, return_attention=True)
    features, patches = refiner.coarse(images), patches_of(refiner, images, positions)
    coarse = ka.ops.dynamic_capacity.gather_vectors(features, positions)
    hint = ka.ops.hint_loss(coarse, vectors_of(refiner, patches, False))
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    np.testing.assert_allclose(hint, authors["eval/hint_loss"], rtol=1e-4)
    expected = authors["eval/cross_entropy"]
    np.testing.assert_allclose(entropy(authors["labels"], logits), expected, rtol=1e-4)
    decay = sum(float(loss) for loss in model.losses)
    np.testing.assert_allclose(decay, authors["eval/weight_decay_total"], rtol=1e-5)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="written for TensorFlow's tapes")
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_gradient_of_the_hint_of_the_authors_code(mode, authors):
    import tensorflow as tf

    training = mode == "train"
    model, images = refined(authors, saliency_training=training, weight_decay=0.0)
    refiner = model.get_layer("refiner")
    kernel = refiner.coarse.get_layer("coarse_conv2").kernel.value
    _, _, positions = refiner(images, training=training, return_attention=True)
    with tf.GradientTape() as tape:
        features = refiner.coarse(images, training=training)
        fine = vectors_of(refiner, patches_of(refiner, images, positions), training)
        hint = ka.ops.hint_loss(ka.ops.dynamic_capacity.gather_vectors(features, positions), fine)
    expected = authors[f"{mode}/grad_hint_wrt_coarse_conv2_oihw"]
    got = np.transpose(tape.gradient(hint, kernel), (3, 2, 0, 1))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.skipif(not ON_TENSORFLOW, reason="written for TensorFlow's tapes")
def test_the_loss_has_no_gradient_where_vectors_were_swapped(authors):
    """The authors' code has one there: that of the fine vector, given to the coarse one too."""
    import tensorflow as tf

    model, images = refined(authors, weight_decay=0.0)
    refiner = model.get_layer("refiner")
    kernel = refiner.coarse.get_layer("coarse_conv2").kernel.value
    _, _, positions = refiner(images, return_attention=True)
    fine = vectors_of(refiner, patches_of(refiner, images, positions), False)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape(persistent=True) as tape:
        features = refiner.coarse(images)
        maps = ka.ops.swap_vectors(features, positions, fine)
        loss = entropy(authors["labels"], refiner.top(maps))
    at_all = tape.gradient(loss, maps)
    ours = np.array(tape.gradient(loss, features))
    image = np.arange(2)[:, None]
    rows, columns = np.moveaxis(np.asarray(positions), -1, 0)
    assert np.any(np.asarray(at_all)[image, rows, columns])
    assert not np.any(ours[image, rows, columns])
    ours[image, rows, columns] = np.asarray(at_all)[image, rows, columns]
    np.testing.assert_allclose(ours, at_all, atol=1e-6)
    leaking = tape.gradient(features, kernel, at_all)
    expected = authors["eval/grad_ce_wrt_coarse_conv2_oihw_ORIGINAL"]
    got = np.transpose(leaking, (3, 2, 0, 1))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_layout_of_the_golden_file(authors):
    assert "N_PATCHES=8" in json.loads(str(authors["meta"]))["source"]


@pytest.mark.parametrize(
    ("name", "variant", "parameters"),
    [
        ("DCNCoarse", "paper", 41_278),
        ("DCNCoarse", "code", 41_156),
        ("DCNFine", "paper", 59_218),
        ("DCNFine", "code", 59_012),
        ("DCN", "paper", 62_470),
        ("DCN", "code", 62_228),
    ],
)
def test_parameters(name, variant, parameters):
    model = ka.applications.build(name, variant=variant)
    assert ka.inspect.trainable_parameters(model) == parameters


def test_multiplications_of_the_paper():
    """84.5M and 27.7M; the fine model's depend only on what appendix 6.1 lists."""
    fine = ka.inspect.count_macs(ka.applications.DCNFine())
    assert fine == pytest.approx(84.5e6, rel=0.02)
    whole = ka.inspect.count_macs(ka.applications.DCN())
    assert whole < 27.7e6
    assert fine / whole > 3


def test_a_patch_becomes_one_vector():
    for variant in ("paper", "code"):
        model = ka.applications.DCNFine((14, 14, 1), include_top=False, variant=variant)
        assert model.output_shape == (None, 1, 1, 24)
    grid = ka.applications.DCN().get_layer("refiner").patch_grid
    assert (grid.size, grid.stride, grid.offset) == ((14, 14), (4, 4), (1, 1))


@slow_on_jax
@pytest.mark.parametrize("name", cross_section(["DCNCoarse", "DCNFine", "DCN"], fast={"DCNCoarse"}))
def test_weights_serve_every_size(name, rng):
    every = ka.applications.build(name, input_shape=(None, None, 1))
    for sides in ((40, 52), (71, 33)):
        known = ka.applications.build(name, input_shape=(*sides, 1))
        known.set_weights(every.get_weights())
        x = rng.uniform(size=(2, *sides, 1)).astype("float32")
        np.testing.assert_allclose(every(x), known(x), atol=1e-5)
        np.testing.assert_allclose(every.predict(x, verbose=0), known(x), atol=1e-5)


def test_joins_trained_parts(rng, tmp_path):
    coarse, fine = ka.applications.DCNCoarse(), ka.applications.DCNFine()
    top = fine.get_layer("top")
    parts = {"coarse": coarse.get_layer("coarse"), "fine": fine.get_layer("fine"), "top": top}
    joined = ka.applications.DCN(**parts, patches=4)
    x = rng.uniform(size=(2, 100, 100, 1)).astype("float32")
    output, _, positions = joined.get_layer("refiner")(x, return_attention=True)
    maps = np.array(parts["coarse"](x))
    read = patches_of(joined.get_layer("refiner"), x, positions)
    for image in range(2):
        for (row, column), patch in zip(np.asarray(positions[image]), read[image], strict=True):
            maps[image, row, column] = np.ravel(parts["fine"](patch[None]))
    np.testing.assert_allclose(output, top(maps), atol=1e-5)
    joined.save(tmp_path / "joined.keras")
    loaded = keras.saving.load_model(tmp_path / "joined.keras")
    np.testing.assert_allclose(loaded(x), output, atol=1e-5)


def test_any_three_models(rng):
    layers = keras.layers
    coarse = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(6, 9, 5)])
    fine = keras.Sequential([layers.Flatten(), layers.Dense(6)])
    top = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(4, "softmax")])
    model = ka.applications.DCN(
        (40, 30, 3), coarse=coarse, fine=fine, top=top, patch_size=12, patches=2
    )
    x = rng.uniform(size=(3, 40, 30, 3)).astype("float32")
    np.testing.assert_allclose(np.sum(model(x), axis=-1), 1.0, rtol=1e-5)
    assert model.get_layer("refiner").patch_grid.offset == (1, 1)


def test_fine_vectors_alone(rng):
    layers = keras.layers
    with pytest.raises(ValueError, match="needs `fine_top`"):
        ka.applications.DCN(combine="fine_only")
    top = keras.Sequential([layers.GlobalMaxPooling2D(), layers.Dense(10, "softmax")])
    model = ka.applications.DCN(combine="fine_only", fine_top=top, patches=3)
    x = rng.uniform(size=(2, 100, 100, 1)).astype("float32")
    assert model(x).shape == (2, 10)
    features = ka.applications.DCN(combine="fine_only", fine_top=top, patches=3, include_top=False)
    assert features.output_shape == (None, 3, 1, 24)


@pytest.mark.slow
def test_all_training_options_together(rng):
    model = ka.applications.DCN(
        (40, 44, 1), convex=True, jitter=1, hint_weight=0.1, variant="code", patches=4
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = rng.uniform(size=(8, 40, 44, 1)).astype("float32")
    history = model.fit(x, np.arange(8), batch_size=4, verbose=0).history
    assert set(history) == {"accuracy", "loss", *(["hint"] if ON_TENSORFLOW else [])}
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "text"}, "Received: variant='text'"),
        ({"patches": 0}, "Received: patches=0"),
        ({"patches": 1000}, "Received: patches=1000"),
        ({"hint_weight": -1}, "Received: hint_weight=-1"),
        ({"coarse": "mine"}, "Received: coarse='mine'"),
        ({"combine": "add"}, "Received: combine='add'"),
    ],
    ids=str,
)
def test_bad_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        ka.applications.DCN(**arguments)
