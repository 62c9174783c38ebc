"""PatchRefiner: patches, saliency, training and validation of arguments."""

import logging

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_attention as ka
from keras_attention import backend
from keras_attention.ops.dynamic_capacity import gather_vectors
from tests import harness

layers = keras.layers
SHAPE = (24, 21, 1)


def coarse_model(shape=SHAPE, **options):
    return keras.Sequential(
        [keras.Input(shape), layers.Conv2D(6, 5, 3, activation="tanh", **options)], name="coarse"
    )


def fine_model():
    return keras.Sequential(
        [layers.Conv2D(6, 3, activation="tanh"), layers.GlobalAveragePooling2D()], name="fine"
    )


def top_model(*hidden, activation="softmax", shape=(None, None, 6)):
    first = layers.Conv2D(8, 3, 2, use_bias=False)
    default = [first, layers.BatchNormalization(), layers.ReLU(), layers.GlobalMaxPooling2D()]
    return keras.Sequential(
        [keras.Input(shape), *(hidden or default), layers.Dense(4, activation=activation)],
        name="top",
    )


def refiner(shape=SHAPE, top=None, **options):
    layer = ka.layers.PatchRefiner(
        coarse_model(shape), fine_model(), top or top_model(), **{"patches": 3, **options}
    )
    layer.build((None, *shape))
    for weight in layer.weights:
        if "variance" in weight.path:
            weight.assign(np.linspace(0.5, 2.0, weight.shape[0]))
    return layer


def random_images(rng, count=3, shape=SHAPE):
    return rng.uniform(size=(count, *shape)).astype("float32")


def step_by_step(layer, x):
    """Reference: coarse map, saliency by gradients, patches, swapped vectors, top."""
    features = layer.coarse(x)
    saliency = ka.ops.entropy_saliency(layer.top, features)
    positions = ka.ops.top_positions(saliency, layer.patches)
    grid = layer.patch_grid
    patches = ka.ops.gather_patches(x, positions, grid.size, grid.stride, grid.offset)
    vectors = ops.stack([layer.fine(patches[image]) for image in range(len(x))])
    return layer.top(ka.ops.swap_vectors(features, positions, vectors)), saliency, positions


@pytest.mark.parametrize("saliency", ["derived", "autodiff", "auto"])
def test_equals_the_definition(saliency, rng):
    layer, x = refiner(saliency=saliency), random_images(rng)
    expected = step_by_step(layer, x)
    outputs = layer(x, return_attention=True)
    for one, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_array_equal(layer(x), outputs[0])


@pytest.mark.parametrize(
    "top",
    [
        [layers.GlobalAveragePooling2D],
        [layers.Flatten],
        [lambda: layers.Conv2D(3, 2, padding="same", activation="relu"), layers.Flatten],
        [lambda: layers.DepthwiseConv2D(2, activation="relu"), layers.GlobalMaxPooling2D],
        [lambda: layers.Conv2D(5, 6, 5), layers.GlobalMaxPooling2D],
    ],
    ids=["mean", "flat", "same", "depthwise", "few products"],
)
def test_any_top(top, rng):
    model = top_model(*(make() for make in top), shape=(7, 6, 6))
    layer, x = refiner(top=model), random_images(rng)
    for one, other in zip(layer(x, return_attention=True), step_by_step(layer, x), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_refined_map_differs_at_the_selected_positions_only(rng):
    x = random_images(rng)
    layer = refiner(include_top=False)
    refined, _, positions = layer(x, return_attention=True)
    changed = np.argwhere(np.asarray(refined != layer.coarse(x)).any(-1))
    expected = [
        (image, *position) for image in range(3) for position in np.asarray(positions)[image]
    ]
    assert {tuple(map(int, one)) for one in changed} == {tuple(map(int, one)) for one in expected}


@given(seed=st.integers(0, 10**6), patches=st.integers(1, 42))
@harness.examples(5)
def test_only_the_patches_are_read_again(seed, patches):
    """With `fine_only`, pixels outside the patches do not affect the outputs."""
    rng = np.random.default_rng(seed)
    top = top_model(layers.GlobalAveragePooling2D())
    layer, x = refiner(top=top, patches=patches, combine="fine_only"), random_images(rng, 1)
    outputs, _, positions = layer(x, return_attention=True)
    grid, is_read = layer.patch_grid, np.zeros(SHAPE, bool)
    for row, column in np.asarray(positions)[0]:
        first_row = row * grid.stride[0] - grid.offset[0]
        left = column * grid.stride[1] - grid.offset[1]
        rows = slice(max(first_row, 0), first_row + grid.size[0])
        is_read[rows, max(left, 0) : left + grid.size[1]] = True
    patches_read = ka.ops.gather_patches(
        np.where(is_read, x, 9.0), positions, grid.size, grid.stride, grid.offset
    )
    vectors = layer.fine(patches_read[0])
    np.testing.assert_allclose(layer.top(vectors[None, :, None]), outputs, atol=1e-6)


def test_patch_grid_is_derived_from_the_coarse_layers():
    grid = refiner(patch_size=8).patch_grid
    assert (grid.stride, grid.size, grid.offset) == ((3, 3), (8, 8), (1, 1))
    same = ka.layers.PatchRefiner(
        coarse_model((24, 24, 1), padding="same"), fine_model(), top_model(), patch_size=(9, 5)
    )
    same.build((None, 24, 24, 1))
    assert same.patch_grid.offset == (2 + 1, 0 + 1)
    explicit = refiner(patch_size=8, offset=(2, -1), stride=4).patch_grid
    assert (explicit.stride, explicit.offset) == ((4, 4), (2, -1))


@pytest.mark.parametrize("sides", [(24, 21), (30, 17)])
def test_any_size(sides, rng):
    layer, x = refiner((None, None, 1)), random_images(rng, 2, (*sides, 1))
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, layer(inputs))
    np.testing.assert_allclose(model.predict(x, verbose=0), step_by_step(layer, x)[0], atol=1e-6)


def test_more_patches_than_positions_are_an_error_or_a_warning(rng, caplog):
    with pytest.raises(ValueError, match=r"at most 42.*Received: patches=43"):
        refiner(patches=43)
    layer, x = refiner((None, None, 1), patches=43), random_images(rng)
    with caplog.at_level(logging.WARNING, "keras_attention"):
        _, _, positions = layer(x, return_attention=True)
    assert positions.shape == (3, 42, 2)
    assert "all positions of a map of 7 x 6" in caplog.text
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, layer(inputs))
    rows, columns = np.meshgrid(np.arange(7), np.arange(6), indexing="ij")
    everywhere = np.stack([rows.ravel(), columns.ravel()], -1)[None].repeat(3, 0)
    refined = layer.top(ops.reshape(fine_at(layer, x, everywhere), (3, 7, 6, 6)))
    np.testing.assert_allclose(model.predict(x, verbose=0), refined, atol=1e-6)


def fine_at(layer, x, positions):
    grid = layer.patch_grid
    patches = ka.ops.gather_patches(x, positions, grid.size, grid.stride, grid.offset)
    return layer.fine(ops.reshape(patches, (-1, *grid.size, 1)))


def test_several_outputs_and_their_selection(rng):
    inputs = keras.Input((None, None, 6))
    mean = layers.GlobalAveragePooling2D()(inputs)
    names = ("length", "first", "second")
    predictions = [layers.Dense(4, activation="softmax", name=name)(mean) for name in names]
    top, x = keras.Model(inputs, predictions), random_images(rng)
    layer = refiner(top=top, outputs=[1, 2])
    outputs, saliency, _ = layer(x, return_attention=True)
    assert [tuple(one.shape) for one in outputs] == [(3, 4)] * 3
    expected = ka.ops.entropy_saliency(top, layer.coarse(x), outputs=[1, 2])
    np.testing.assert_allclose(saliency, expected, atol=1e-6)


def gradients(layer, x, loss):
    """Gradients of a loss of the outputs plus the layer's losses, by the path of each weight."""
    if backend.BACKEND != "tensorflow":
        pytest.skip("gradient tapes need TensorFlow")
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss(layer(x, training=True)) + sum(layer.losses)
    weights = layer.trainable_variables
    values = tape.gradient(value, [weight.value for weight in weights])
    return {weight.path: gradient for weight, gradient in zip(weights, values, strict=True)}


def test_the_hint_trains_the_coarse_layers_only(rng):
    layer, x = refiner(hint_weight=2.0), random_images(rng)
    found = gradients(layer, x, lambda outputs: 0.0)
    reached = {path.split("/")[-3] for path, gradient in found.items() if gradient is not None}
    assert {path for path in reached if path != "coarse"} == set()
    assert any("coarse" in path for path, gradient in found.items() if gradient is not None)
    features, (_, _, positions) = layer.coarse(x), step_by_step(layer, x)
    fine = ops.reshape(fine_at(layer, x, positions), (3, 3, 6))
    distance = np.square(np.asarray(gather_vectors(features, positions)) - np.asarray(fine))
    assert float(layer.losses[0]) == pytest.approx(2.0 * distance.sum(-1).mean(), rel=1e-5)
    assert float(layer.hint_metric.result()) == pytest.approx(distance.sum(-1).mean(), rel=1e-5)


def test_replaced_vectors_get_no_gradient_from_the_outputs(rng):
    """With as many patches as positions, the coarse layers get no gradient."""
    layer, x = refiner(patches=42, hint_weight=0), random_images(rng)
    found = gradients(layer, x, lambda outputs: ops.sum(ops.square(outputs)))
    coarse = {weight.path for weight in layer.coarse.trainable_variables}
    for path, gradient in found.items():
        is_zero = gradient is None or float(ops.max(ops.abs(gradient))) == 0.0
        assert is_zero == (path in coarse), path


def test_convex_combination_scales_the_gradient_of_the_coarse_layers(rng):
    x = random_images(rng)
    plain, convex = refiner(hint_weight=0), refiner(hint_weight=0.25, convex=True)
    convex.set_weights(plain.get_weights())

    def loss(outputs):
        return ops.sum(ops.square(outputs))

    hinted = refiner(hint_weight=0.25)
    hinted.set_weights(plain.get_weights())
    without_hint = list(gradients(plain, x, loss).values())
    both = list(gradients(hinted, x, loss).values())
    combined = list(gradients(convex, x, loss).values())
    coarse = len(plain.coarse.trainable_variables)
    for index, (one, with_hint, mixed) in enumerate(zip(without_hint, both, combined, strict=True)):
        expected = with_hint - 0.25 * one if index < coarse else one
        np.testing.assert_allclose(mixed, expected, atol=1e-6)


@pytest.mark.skipif(
    not harness.ON_TENSORFLOW, reason="no metrics of layers in training steps on JAX"
)
def test_fit_reports_and_lowers_the_hint(rng):
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, refiner(hint_weight=1.0)(inputs))
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(random_images(rng, 16), np.arange(16) % 4, epochs=6, verbose=0).history
    assert history["hint"][-1] < history["hint"][0]


def test_jitter_moves_patches_in_training_only(rng):
    top = top_model(layers.GlobalAveragePooling2D())
    fixed, moved = (
        refiner(top=top, combine="fine_only", hint_weight=0, jitter=jitter, offset=1)
        for jitter in (0, 1)
    )
    moved.set_weights(fixed.get_weights())
    x = random_images(rng)
    np.testing.assert_allclose(moved(x), fixed(x), atol=1e-7)
    drawn = [np.asarray(moved(x, training=True)) for _ in range(4)]
    assert any(np.abs(one - drawn[0]).max() > 1e-6 for one in drawn[1:])


def test_saliency_with_batch_statistics(rng):
    layer, x = refiner(saliency_training=True), random_images(rng)
    plain = refiner()
    plain.set_weights(layer.get_weights())
    _, saliency, positions = layer(x, training=True, return_attention=True)
    _, inferred, other_positions = plain(x, training=True, return_attention=True)
    assert np.abs(saliency - inferred).max() > 1e-4
    # The saliency does not update moving statistics: one pass over the refined map does.
    for updated, selected in ((layer, positions), (plain, other_positions)):
        first, norm = updated.top.layers[:2]
        fine = ops.reshape(fine_at(updated, x, selected), (3, 3, 6))
        maps = first(ka.ops.swap_vectors(updated.coarse(x), selected, fine))
        expected = 0.01 * np.asarray(maps).mean((0, 1, 2))
        np.testing.assert_allclose(norm.moving_mean, expected, atol=1e-6)


def test_fused_inference_equals_plain_inference(rng):
    x = random_images(rng)
    plain, fused = refiner(), refiner(fused=True)
    fused.set_weights(plain.get_weights())
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, fused(inputs))
    expected = np.asarray(plain(x))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(x[:1], verbose=0), expected[:1], atol=1e-6)


@pytest.mark.slow
def test_fused_inference_with_batches_of_different_sizes(rng):
    x = random_images(rng)
    fused = refiner(fused=True)
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, fused(inputs))
    expected = np.asarray(fused(x))
    for count in (len(x), len(x) - 1, 1):
        outputs = model.predict_on_batch(x[:count])
        np.testing.assert_allclose(outputs, expected[:count], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "litert"])
@pytest.mark.skipif(backend.BACKEND != "tensorflow", reason="exports need TensorFlow")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_derived_saliency_exports(kind, rng, tmp_path):
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, refiner((None, None, 1))(inputs))
    export = getattr(ka.export, f"export_{kind}")
    export(model, tmp_path / "model", inputs=random_images(rng), attention=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coarse": "model"}, "`coarse` must be a Keras model"),
        ({"fine": None}, "`fine` must be a Keras model"),
        ({"top": layers.Dense(3)}, "`top` must be a Keras model"),
        ({"patches": 0}, "Received: patches=0"),
        ({"patches": 2.5}, "Received: patches=2.5"),
        ({"patch_size": (4, 0)}, "Received: patch_size="),
        ({"offset": 1.5}, "Received: offset=1.5"),
        ({"stride": -1}, "Received: stride=-1"),
        ({"combine": "mean"}, "Received: combine='mean'"),
        ({"hint_weight": -1}, "Received: hint_weight=-1"),
        ({"hint_weight": 2, "convex": True}, "Received: hint_weight=2"),
        ({"jitter": -1}, "Received: jitter=-1"),
        ({"outputs": [0, 0]}, "Received: outputs="),
        ({"outputs": [3]}, "from 0 to 0"),
        ({"saliency": "guided"}, "Received: saliency='guided'"),
        ({"epsilon": "small"}, "Received: epsilon='small'"),
        ({"from_logits": 1}, "Received: from_logits=1"),
    ],
    ids=str,
)
def test_bad_arguments(options, message):
    parts = {"coarse": coarse_model(), "fine": fine_model(), "top": top_model()}
    with pytest.raises(ValueError, match=message):
        ka.layers.PatchRefiner(**{**parts, **options}).build((None, *SHAPE))


def test_incompatible_models():
    short = keras.Sequential([layers.Conv2D(5, 3), layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="vectors of length 6"):
        ka.layers.PatchRefiner(coarse_model(), short, top_model()).build((None, *SHAPE))
    mapped = keras.Sequential([layers.Conv2D(6, 3)])
    with pytest.raises(ValueError, match="one vector for a patch"):
        ka.layers.PatchRefiner(coarse_model(), mapped, top_model()).build((None, *SHAPE))
    flat = keras.Sequential([layers.Flatten(), layers.Dense(6)])
    with pytest.raises(ValueError, match="`stride` must be set"):
        ka.layers.PatchRefiner(flat, fine_model(), top_model()).build((None, *SHAPE))
    one = keras.Sequential([top_model(), layers.Dense(1, activation="softmax")])
    with pytest.raises(ValueError, match="`from_logits` must be True or False"):
        ka.layers.PatchRefiner(coarse_model(), fine_model(), one).build((None, *SHAPE))
    gated = top_model(layers.GlobalMaxPooling2D(), layers.LayerNormalization())
    with pytest.raises(ValueError, match="`saliency` is 'derived'"):
        ka.layers.PatchRefiner(
            coarse_model(), fine_model(), gated, patches=3, saliency="derived"
        ).build((None, *SHAPE))


class SubclassedTop(keras.Model):
    """A top that is not a functional model."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4, activation="softmax")

    def build(self, shape):
        self.dense.build((None, shape[-1]))

    def call(self, maps):
        return self.dense(ops.max(maps, axis=(1, 2)))


def test_a_subclassed_top_needs_from_logits(rng):
    with pytest.raises(ValueError, match="`from_logits` must be True or False"):
        refiner(top=SubclassedTop())
    layer, x = refiner(top=SubclassedTop(), from_logits=False), random_images(rng)
    for one, other in zip(layer(x, return_attention=True), step_by_step(layer, x), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_multiply_accumulates(rng):
    inputs = keras.Input(SHAPE)
    layer = refiner()
    model = keras.Model(inputs, layer(inputs))
    coarse, top = 7 * 6 * 25 * 6, 3 * 2 * (9 * 6 * 8 + 8) + 8 * 4 + 4
    fine = 3 * 3 * 3 * 9 * 6
    assert ka.inspect.count_macs(model) == coarse + 3 * top + fine
    update = 3 * (9 * 6 * 8 + 3 * 2 * 4 * 8)
    saved = 3 * 2 * 9 * 6 * 8 - update
    assert ka.inspect.count_macs(model, executed=True) == coarse + 3 * top + fine - saved


def refiner_of(end, units=5, seed=0, **options):
    """A layer whose top ends in given layers, on images of 16 x 16."""
    keras.utils.set_random_seed(seed)
    features = keras.Input((7, 7, 8))
    x = layers.Dense(units, activation="relu")(layers.GlobalAveragePooling2D()(features))
    top = keras.Model(features, end(x))
    coarse = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(8, 4, 2, activation="relu")])
    fine = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    return ka.layers.PatchRefiner(coarse, fine, top, patches=3, patch_size=6, **options)


def dense(activation, units=5):
    return lambda x: layers.Dense(units, activation=activation)(x)


@pytest.mark.parametrize(
    "end",
    [
        dense(keras.ops.softmax),
        lambda x: layers.Lambda(lambda z: keras.ops.softmax(z))(layers.Dense(5)(x)),
        lambda x: keras.ops.softmax(layers.Dense(5)(x)),
    ],
)
def test_softmax_of_any_form_is_recognized(end, rng):
    x = rng.uniform(size=(2, 16, 16, 3)).astype("float32")
    expected = refiner_of(dense("softmax"))(x, return_attention=True)
    found = refiner_of(end)(x, return_attention=True)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not harness.ON_TENSORFLOW, reason="compares with gradients of TensorFlow")
@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (4, "sigmoid"), (1, None)])
@pytest.mark.parametrize("saliency", ["derived", "autodiff"])
def test_saliency_of_independent_labels(units, saliency, activation, rng):
    """The gradient of the sum of the Bernoulli entropies."""
    import tensorflow as tf

    layer = refiner_of(dense(activation, units), saliency=saliency)
    x = rng.uniform(size=(2, 16, 16, 3)).astype("float32")
    _, found, _ = layer(x, return_attention=True)
    features = tf.convert_to_tensor(layer.coarse(x))
    with tf.GradientTape() as tape:
        tape.watch(features)
        p = tf.cast(layer.top(features), "float64")
        p = tf.sigmoid(p) if activation is None else p
        entropy = -tf.reduce_sum(p * tf.math.log(p) + (1 - p) * tf.math.log(1 - p))
    expected = tf.norm(tape.gradient(entropy, features), axis=-1)
    assert expected.numpy().max() > 1e-4
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_unknown_outputs_need_from_logits():
    def halves(x):
        return (
            layers.Dense(5, activation="softmax")(x) + layers.Dense(5, activation="softmax")(x)
        ) / 2.0

    with pytest.raises(ValueError, match="`from_logits` must be True or False"):
        refiner_of(halves)(np.ones((1, 16, 16, 3)))
    refiner_of(halves, from_logits=False)(np.ones((1, 16, 16, 3)))


@pytest.mark.skipif(not harness.ON_TENSORFLOW, reason="Keras quantizes with TensorFlow here")
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_quantization_keeps_the_saliency(rng):
    layer = refiner_of(dense("softmax"))
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, layer(inputs))
    x = rng.uniform(size=(2, 16, 16, 3)).astype("float32")
    before = layer(x, return_attention=True)
    model.quantize("int8")
    after = layer(x, return_attention=True)
    np.testing.assert_allclose(after[1], before[1], rtol=0.1, atol=0.02 * np.max(before[1]))
    np.testing.assert_allclose(after[0], before[0], atol=0.02)


def test_patches_larger_than_the_image_are_refused():
    coarse, top = coarse_model(), top_model()
    layer = ka.layers.PatchRefiner(coarse, fine_model(), top, patches=2, patch_size=(30, 6))
    with pytest.raises(ValueError, match=r"at most .* 24 x 21 pixels.*patch_size=\(30, 6\)"):
        layer(np.ones((1, *SHAPE)))
