"""Attention modules, gates and their sum, compared with the authors' code."""

import sys

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_attention as ka
from keras_attention import backend
from keras_attention.layers.attend_rectify import GlobalGate
from tests.golden import TOLERANCE, channels_last, golden
from tests.harness import ON_TENSORFLOW, examples

MODULES = [(heads, gate) for heads in (1, 2, 4) for gate in (True, False)]


def kernel(array):
    """OIHW to HWIO."""
    return np.transpose(array, (2, 3, 1, 0))


def normalization(data, name):
    return [data[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


def module_of(data, heads, gate, data_format="channels_last"):
    names = ("att_head", "out_head", "score") if gate else ("att_head", "out_head")
    layer = ka.layers.AttentionModule(5, heads, gate=gate, data_format=data_format)
    x = data["x"] if data_format == "channels_first" else channels_last(data["x"])
    layer.build(x.shape)
    prefix = f"K{heads}_gate{int(gate)}"
    layer.set_weights([kernel(data[f"{prefix}/w/{name}.conv.weight"]) for name in names])
    return layer, x, prefix


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("heads", "gate"), MODULES)
def test_golden_module(heads, gate, data_format):
    data = golden("warn_attention_module.npz")
    layer, x, prefix = module_of(data, heads, gate, data_format)
    outputs, masks = layer(x, training=True, return_attention=True)
    expected = data[f"{prefix}/output"]
    np.testing.assert_allclose(outputs, expected[:, 0] if gate else expected, **TOLERANCE)
    axes = (0, 3, 1, 2) if data_format == "channels_last" else (0, 1, 2, 3)
    np.testing.assert_allclose(
        np.transpose(masks, axes), data[f"{prefix}/att_mask"], rtol=1e-4, atol=1e-7
    )
    penalty = float(data[f"{prefix}/reg_loss_times_reg_w"])
    assert sum(map(float, layer.losses)) == pytest.approx(penalty, rel=1e-4)
    layer(x, training=False)
    assert not layer.losses, "the regularizer is for training"


@pytest.mark.parametrize(("heads", "gate"), MODULES)
def test_golden_gradients_of_module(heads, gate):
    data = golden("warn_attention_module.npz")
    layer, x, prefix = module_of(data, heads, gate)
    layer.overlap_weight = 100.0

    def probe(x):
        return 0.01 * keras.ops.sum(keras.ops.square(layer(x, training=True))) + sum(layer.losses)

    value, by_x, by_kernel = gradients(probe, x, layer.attention_kernel)
    assert value == pytest.approx(float(data[f"{prefix}/probe_loss"]), rel=1e-4)
    np.testing.assert_allclose(
        by_x, channels_last(data[f"{prefix}/grad_probe_x"]), rtol=1e-3, atol=1e-6
    )
    expected = kernel(data[f"{prefix}/grad_probe_att_head.conv.weight"])
    np.testing.assert_allclose(by_kernel, expected, rtol=1e-3, atol=1e-6)


def gradients(function, x, variable):
    """The value of a function, and its gradients by an input and a variable."""
    if ON_TENSORFLOW:
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return float(value), *tape.gradient(value, [x, variable.value])
    import jax

    def of_both(values, x):
        with keras.StatelessScope(state_mapping=[(variable, values)], collect_losses=True):
            return function(x)

    value, (by_variable, by_x) = jax.value_and_grad(of_both, argnums=(0, 1))(variable.value, x)
    return float(value), by_x, by_variable


@pytest.mark.parametrize("depth", [1, 2])
def test_golden_global_gate(depth):
    data = golden("warn_gate_aggregate.npz")
    layer, z, prefix = GlobalGate(4, depth), data["z"], f"gate{depth}"
    layer.build(z.shape)
    weights = []
    names = [("pre_gates", "pre_bn"), ("gates", "bn")][-depth:]
    for product, _ in names:
        weights.append(data[f"{prefix}/w/{product}.weight"].T)
    for part in layer.products:
        part.set_weights([weights.pop(0)])
    for part, (_, name) in zip(layer.normalizations, names, strict=True):
        part.set_weights(normalization(data, f"{prefix}/w/{name}"))
    np.testing.assert_allclose(layer(z), data[f"{prefix}/eval"], **TOLERANCE)
    np.testing.assert_allclose(layer(z, training=True), data[f"{prefix}/train"], **TOLERANCE)
    mean = data[f"{prefix}/train_new_running_mean"]
    np.testing.assert_allclose(layer.normalizations[-1].moving_mean, mean, **TOLERANCE)


@pytest.mark.parametrize(("gates", "name"), [("softmax", "softmax"), ("sigmoid", "sigmoid")])
def test_golden_aggregate(gates, name):
    data = golden("warn_gate_aggregate.npz")
    hypotheses = np.concatenate([data[f"agg/out{index}"] for index in range(4)], axis=1)
    shares = ka.ops.global_gates(data["agg/gate_logits"], gates)
    output = ka.ops.aggregate_hypotheses(hypotheses, shares)
    np.testing.assert_allclose(output, data[f"agg/{name}"], **TOLERANCE)
    loss = ka.losses.NegativeLogLikelihood()(data["labels"], output)
    assert float(loss) == pytest.approx(float(data[f"agg/nll_{name}"]), rel=1e-5)
    equal = ka.ops.global_gates(data["agg/gate_logits"], "mean")
    np.testing.assert_allclose(
        ka.ops.aggregate_hypotheses(hypotheses, equal), data["agg/none"], **TOLERANCE
    )


def head_and_inputs(rng, depth=2, classes=3, **options):
    head = ka.layers.AttendRectifyHead(classes, **options)
    maps = [rng.normal(size=(4, 3 * 2**i, 5, 6)).astype("float32") for i in range(depth)]
    logits = rng.normal(size=(4, classes)).astype("float32")
    features = rng.normal(size=(4, 7)).astype("float32")
    head(maps, logits, features)
    return head, (maps, logits, features)


def test_gates_of_zero_return_the_predictions_of_the_network(rng):
    """Setting all gates but the last to 0 is the network without attention (section 3.5)."""
    hypotheses = rng.normal(size=(4, 3, 5)).astype("float32")
    only_network = np.tile([0.0, 0.0, 1.0], (4, 1))
    for space, act in (("log", keras.ops.log_softmax), ("probability", keras.ops.softmax)):
        outputs = ka.ops.aggregate_hypotheses(hypotheses, only_network, space)
        np.testing.assert_allclose(outputs, act(hypotheses[:, -1]), atol=1e-6)


def test_probabilities_sum_to_one(rng):
    for gates in ("softmax", "mean"):
        head, inputs = head_and_inputs(rng, space="probability", gates=gates)
        np.testing.assert_allclose(np.sum(head(*inputs), axis=-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("gates", ["softmax", "sigmoid", "mean"])
def test_gates_without_normalization_see_each_image_alone(gates, rng):
    head, (maps, logits, features) = head_and_inputs(rng, gates=gates, gate_normalization=False)
    whole = head(maps, logits, features, training=True)
    alone = head([one[:1] for one in maps], logits[:1], features[:1], training=True)
    np.testing.assert_allclose(whole[:1], alone, atol=1e-5)


def test_penalty_of_a_head_is_the_mean_of_its_modules(rng):
    head, inputs = head_and_inputs(rng, depth=3, overlap_weight=0.5)
    overlaps = [float(ka.ops.head_overlap(masks)) for masks in head.intermediates(*inputs)["masks"]]
    head(*inputs, training=True)
    assert sum(map(float, head.losses)) == pytest.approx(0.5 * sum(overlaps) / 3, rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.0])
def test_gradient_scale(scale, rng):
    head, (maps, logits, features) = head_and_inputs(rng, depth=1, gradient_scale=scale)
    plain, _ = head_and_inputs(rng, depth=1)
    plain.set_weights(head.get_weights())
    weights = rng.normal(size=(4, 3)).astype("float32")

    def loss(layer):
        def of_map(x):
            return keras.ops.sum(layer([x], logits, features, training=True) * weights)

        return gradients(of_map, maps[0], layer.modules[0].attention_kernel)

    value, by_map, by_kernel = loss(head)
    expected, full, by_kernel_of_plain = loss(plain)
    assert value == pytest.approx(expected, rel=1e-5)
    if scale:
        np.testing.assert_allclose(by_map, scale * np.asarray(full), rtol=1e-4, atol=1e-7)
    else:
        assert by_map is None or not np.any(by_map)
    np.testing.assert_allclose(by_kernel, by_kernel_of_plain, rtol=1e-4, atol=1e-7)


@given(seed=st.integers(0, 2**31), height=st.integers(1, 5), width=st.integers(1, 5))
@examples(15)
def test_permuting_heads_permutes_outputs(seed, height, width):
    rng = np.random.default_rng(seed)
    layer = ka.layers.AttentionModule(3, 4, gate=False)
    x = rng.normal(size=(2, height, width, 5)).astype("float32")
    first = np.asarray(layer(x))
    order = rng.permutation(4)
    attention, output = layer.get_weights()
    by_head = output.reshape(*output.shape[:3], 4, 3)[:, :, :, order]
    layer.set_weights([attention[..., order], by_head.reshape(output.shape)])
    np.testing.assert_allclose(layer(x), first[:, order], atol=1e-5)
    gated, permuted = ka.layers.AttentionModule(3, 4), ka.layers.AttentionModule(3, 4)
    expected = np.asarray(gated(x))
    permuted(x)
    attention, output, score = gated.get_weights()
    by_head = output.reshape(*output.shape[:3], 4, 3)[:, :, :, order]
    permuted.set_weights([attention[..., order], by_head.reshape(output.shape), score[..., order]])
    np.testing.assert_allclose(permuted(x), expected, atol=1e-5)


@given(
    seed=st.integers(0, 2**31),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size=st.sampled_from([(1, 1), (3, 3), (5, 1), (3, 7)]),
    mask=st.sampled_from(["softmax", "sigmoid"]),
)
@examples(25)
def test_weighted_sums_are_those_of_the_convolutions(seed, sides, size, mask):
    """Compares with equations 1 to 3, computed with the convolutions for the classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, *sides, 3)).astype("float32")
    attention = rng.normal(size=(*size, 3, 2)).astype("float32")
    outputs = rng.normal(size=(*size, 3, 2 * 4)).astype("float32")
    masks, sums = ka.ops.attend(x, attention, mask)
    logits = np.asarray(keras.ops.conv(x, attention, padding="same"))
    if mask == "softmax":
        flat = np.exp(logits - logits.max(axis=(1, 2), keepdims=True))
        expected = flat / flat.sum(axis=(1, 2), keepdims=True)
    else:
        expected = 1.0 / (1.0 + np.exp(-logits))
    np.testing.assert_allclose(np.moveaxis(masks, 1, -1), expected, rtol=1e-4, atol=1e-6)
    maps = np.asarray(keras.ops.conv(x, outputs, padding="same")).reshape(2, *sides, 2, 4)
    expected_sums = np.einsum("bhwk,bhwkl->bkl", expected, maps)
    expected_sums = expected_sums / (1 if mask == "softmax" else sides[0] * sides[1])
    np.testing.assert_allclose(
        ka.ops.head_outputs(sums, outputs), expected_sums, rtol=1e-3, atol=1e-4
    )


@given(seed=st.integers(0, 2**31))
@examples(10)
def test_heads_at_different_positions_do_not_overlap(seed):
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 6, 8, 4), "float32")
    for head in range(4):
        masks[:, :, 2 * head : 2 * head + 2, head] = rng.uniform(size=(2, 6, 2))
    assert float(ka.ops.head_overlap(masks)) == 0.0
    order = rng.permutation(4)
    some = rng.uniform(size=(2, 6, 8, 4)).astype("float32")
    overlap = float(ka.ops.head_overlap(some))
    assert overlap > 0.0
    assert float(ka.ops.head_overlap(some[..., order])) == pytest.approx(overlap, rel=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_masks_and_gates_are_returned(data_format, rng):
    head = ka.layers.AttendRectifyHead(3, 2, data_format=data_format)
    shapes = [(3, 2, 4), (6, 5, 3)]
    turned = [(c, h, w) if data_format == "channels_first" else (h, w, c) for h, w, c in shapes]
    maps = [keras.Input(shape) for shape in turned]
    logits, features = keras.Input((3,)), keras.Input((5,))
    symbolic = head(maps, logits, features, return_attention=True, return_gates=True)
    model = keras.Model([*maps, logits, features], symbolic)
    x = [rng.normal(size=(4, *one.shape[1:])).astype("float32") for one in model.inputs]
    outputs, masks, gates = model.predict(x, verbose=0)
    assert outputs.shape == (4, 3)
    for mask, declared, (height, width, _) in zip(masks, symbolic[1], shapes, strict=True):
        axes = (1, 2) if data_format == "channels_last" else (2, 3)
        assert mask.shape[1:] == declared.shape[1:]
        assert [mask.shape[axis] for axis in axes] == [height, width]
        np.testing.assert_allclose(mask.sum(axis=axes), 1.0, rtol=1e-5)
    assert gates.shape == (4, 3)
    np.testing.assert_allclose(gates.sum(axis=1), 1.0, rtol=1e-5)


def test_channels_first_head_equals_channels_last(rng):
    head, (maps, logits, features) = head_and_inputs(rng)
    first = ka.layers.AttendRectifyHead(3, data_format="channels_first")
    turned = [np.moveaxis(one, -1, 1) for one in maps]
    first(turned, logits, features)
    first.set_weights(head.get_weights())
    expected = head(maps, logits, features)
    np.testing.assert_allclose(first(turned, logits, features), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 0}, "Received: heads=0"),
        ({"mask": "relu"}, "Received: mask='relu'"),
        ({"overlap_weight": -1}, "Received: overlap_weight=-1"),
        ({"kernel_size": 2}, "Received: kernel_size=2"),
    ],
)
def test_bad_arguments_of_module(arguments, message):
    with pytest.raises(ValueError, match=message):
        ka.layers.AttentionModule(10, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": "logit"}, "Received: space='logit'"),
        ({"gates": "max"}, "Received: gates='max'"),
        ({"gate_depth": 3}, "Received: gate_depth=3"),
        ({"gradient_scale": -0.1}, "Received: gradient_scale=-0.1"),
        ({"gate_normalization": 1}, "Received: gate_normalization=1"),
    ],
)
def test_bad_arguments_of_head(arguments, message):
    with pytest.raises(ValueError, match=message):
        ka.layers.AttendRectifyHead(10, **arguments)


def test_invalid_inputs_of_head(rng):
    _, (maps, logits, features) = head_and_inputs(rng)
    with pytest.raises(ValueError, match=r"must have the shape \(B, 10\)"):
        ka.layers.AttendRectifyHead(10)(maps, logits, features)
    with pytest.raises(ValueError, match="must be a list of maps"):
        ka.layers.AttendRectifyHead(3)(maps[0], logits, features)


def test_large_kernels_give_the_same_sums(rng, monkeypatch):
    """Large kernels use one product per head, small kernels a single product."""
    sums = rng.normal(size=(3, 2, 9, 5)).astype("float32")
    kernel = rng.normal(size=(3, 3, 5, 2 * 4)).astype("float32")
    small = ka.ops.head_outputs(sums, kernel)
    expected = np.einsum("bktc,tckl->bkl", sums, kernel.reshape(9, 5, 2, 4))
    np.testing.assert_allclose(small, expected, rtol=1e-4, atol=1e-4)
    module = sys.modules["keras_attention.ops.attend_rectify"]
    monkeypatch.setattr(module, "_BATCHED_FROM", 0)
    np.testing.assert_allclose(ka.ops.head_outputs(sums, kernel), expected, rtol=1e-4, atol=1e-4)


def test_in_other_formats_softmax_is_one_operation_of_equal_value(rng):
    logits = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    calls = (
        lambda: ka.ops.spatial_softmax(logits, "channels_first"),
        lambda: ka.ops.spatial_softmax(logits, "channels_last"),
        lambda: ka.ops.global_gates(logits[:, :, 0, 0]),
    )
    for call in calls:
        with backend.fusion_disabled():
            plain = call()
        np.testing.assert_allclose(plain, call(), atol=1e-6)
