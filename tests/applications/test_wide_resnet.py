"""WideResNet and WARN compared with the numbers of the authors' code, and the paper's counts."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.golden import TOLERANCE, channels_last, golden
from tests.harness import EAGERLY, ON_TENSORFLOW, cross_section

SMALL = {"depth": 10, "width": 0.25}
GATES = ["softmax", "sigmoid"] if ON_TENSORFLOW else ["softmax"]


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    cross_section(
        [
            ("WideResNet", {"depth": 28, "width": 10}, 36_479_194),
            ("WARN", {"depth": 28, "width": 10}, 36_965_634),
            ("WARN", {"depth": 28, "width": 10, "classes": 100}, 40_652_124),
            (
                "WARN",
                {"depth": 28, "width": 10, "attention_depth": 1, "attention_width": 1},
                36_549_630,
            ),
            ("WARN", {"depth": 40, "width": 10}, 56_328_194),
            ("WideResNet", {"depth": 16, "width": 1, "variant": "at"}, 175_066),
            ("WideResNet", {"depth": 16, "width": 2, "variant": "at"}, 691_674),
            ("WideResNet", {"depth": 40, "width": 1, "variant": "at"}, 563_930),
            ("WideResNet", {"depth": 40, "width": 2, "variant": "at"}, 2_243_546),
        ],
        fast=[("WideResNet", {"depth": 16, "width": 1, "variant": "at"}, 175_066)],
    ),
)
def test_parameters_of_the_papers(name, arguments, parameters):
    keras.config.set_dtype_policy("bfloat16")  # half the memory
    model = ka.applications.build(name, **arguments)
    assert ka.inspect.trainable_parameters(model) == parameters


def layer_weights(data, keras_name):
    """The authors' weights of one of our layers."""
    parts = keras_name.split("_")
    renamed = {
        "conv0": "conv0",
        "conv0_bn": "bn0",
        "group3_bn": "bn_g2",
        "logits": "classifier",
    }
    if parts[0].startswith("group") and len(parts) > 2:
        group, block = int(parts[0][-1]) - 1, int(parts[1][-1]) - 1
        inner = {
            "pre_bn": "bn0",
            "conv1": "conv0",
            "conv1_bn": "bn1",
            "conv2": "conv1",
            "shortcut": "conv_reduce",
        }["_".join(parts[2:])]
        name = f"w/group_{group}.block_{block}.{inner}"
    else:
        name = f"w/{renamed[keras_name]}"
    weight = data[f"{name}.weight"]
    if weight.ndim == 4:
        return [np.transpose(weight, (2, 3, 1, 0))]
    if weight.ndim == 2:
        return [weight.T, data[f"{name}.bias"]]
    return [weight, *(data[f"{name}.{part}"] for part in ("bias", "running_mean", "running_var"))]


def golden_model(data, gates):
    model = ka.applications.WARN(10, 0.5, gates=gates, classifier_activation=None, weight_decay=0)
    head = model.get_layer("rectify")
    for layer in model.layers:
        if layer.weights and layer is not head:
            layer.set_weights(layer_weights(data, layer.name))
    for module, name in zip(head.modules, ("att2", "att1", "att0"), strict=True):
        kernels = [
            data[f"w/{name}.{part}.conv.weight"] for part in ("att_head", "out_head", "score")
        ]
        module.set_weights([np.transpose(array, (2, 3, 1, 0)) for array in kernels])
    head.global_gate.products[0].set_weights([data["w/output_gate.gates.weight"].T])
    parts = ("weight", "bias", "running_mean", "running_var")
    head.global_gate.normalizations[0].set_weights(
        [data[f"w/output_gate.bn.{part}"] for part in parts]
    )
    return model, head


@pytest.mark.parametrize("gates", cross_section(GATES, fast={"softmax"}))
def test_golden_inference(gates):
    data = golden("warn_wrn_10_0.5_ad3_aw4.npz")
    model, head = golden_model(data, gates)
    x = channels_last(data["x"])
    np.testing.assert_allclose(model(x, training=False), data[f"{gates}/eval_logp"], atol=1e-4)
    inputs = keras.Model(model.input, list(head._inbound_nodes[0].input_tensors))(x)
    maps, (logits, features) = inputs[:3], inputs[3:]
    np.testing.assert_allclose(logits, data["eval_net_logits"], atol=1e-4)
    found = head.intermediates(maps, logits, features)
    for index, name in enumerate(("att2", "att1", "att0")):
        expected = data[f"eval_{name}_out"][:, 0]
        np.testing.assert_allclose(found["hypotheses"][:, index], expected, atol=1e-4)
        pooled = keras.ops.average_pool(found["masks"][index], 2, 2, data_format="channels_last")
        expected = channels_last(data[f"eval_{name}_mask_pooled2x2"])
        np.testing.assert_allclose(pooled, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("gates", cross_section(GATES, fast={"softmax"}))
def test_golden_training(gates):
    data = golden("warn_wrn_10_0.5_ad3_aw4.npz")
    model, _ = golden_model(data, gates)
    x, labels = channels_last(data["x"]), data["labels"]
    outputs = model(x, training=True)
    np.testing.assert_allclose(outputs, data[f"{gates}/train_logp"], rtol=1e-3, atol=1e-3)
    penalty = float(data[f"{gates}/train_reg_loss"])
    assert sum(map(float, model.losses)) == pytest.approx(penalty, rel=1e-3)
    total = float(ka.losses.NegativeLogLikelihood()(labels, outputs)) + sum(
        map(float, model.losses)
    )
    assert total == pytest.approx(float(data[f"{gates}/train_total_loss"]), rel=1e-4)


@pytest.mark.parametrize("gates", cross_section(GATES, fast={"softmax"}))
def test_golden_step(gates):
    """A step of plain gradient descent moves weights by the authors' gradients."""
    data = golden("warn_wrn_10_0.5_ad3_aw4.npz")
    model, head = golden_model(data, gates)
    weights = {
        "att2.att_head.conv.weight": head.modules[0].attention_kernel,
        "att0.score.conv.weight": head.modules[2].score_kernel,
        "output_gate.gates.weight": head.global_gate.products[0].kernel,
        "classifier.bias": model.get_layer("logits").bias,
        "bn_g2.weight": model.get_layer("group3_bn").gamma,
    }
    before = {name: weight.numpy() for name, weight in weights.items()}
    model.compile(keras.optimizers.SGD(1.0), ka.losses.NegativeLogLikelihood(), run_eagerly=EAGERLY)
    model.train_on_batch(channels_last(data["x"]), data["labels"])
    for name, weight in weights.items():
        expected = data[f"{gates}/grad_total_loss/{name}"]
        if expected.ndim == 4:
            expected = np.transpose(expected, (2, 3, 1, 0))
        expected = expected.T if expected.ndim == 2 else expected
        moved = before[name] - weight.numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(moved, expected, atol=1e-3 * scale + 1e-6, err_msg=name)


def authors_names(keras_name):
    """The names, in the code of Attention Transfer, of a layer's weights."""
    renamed = {"conv0": "conv0", "group3_bn": "bn", "predictions": "fc"}
    if keras_name in renamed:
        return renamed[keras_name]
    group, block, part = keras_name.split("_", 2)
    inner = {
        "pre_bn": "bn0",
        "conv1": "conv0",
        "conv1_bn": "bn1",
        "conv2": "conv1",
        "shortcut": "convdim",
    }[part]
    return f"group{int(group[-1]) - 1}.block{int(block[-1]) - 1}.{inner}"


def transfer_model(data):
    """The network of Attention Transfer, with the authors' weights; also returns the taps."""
    model = ka.applications.WideResNet(10, 1, "at", classifier_activation=None, weight_decay=0)
    for layer in model.layers:
        if not layer.weights:
            continue
        name = f"w/{authors_names(layer.name)}"
        if isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([np.transpose(data[name], (2, 3, 1, 0))])
        elif isinstance(layer, keras.layers.Dense):
            layer.set_weights([data[f"{name}.weight"].T, data[f"{name}.bias"]])
        else:
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([data[f"{name}.{part}"] for part in parts])
    groups = [model.get_layer(f"group{group}").output for group in (1, 2, 3)]
    return model, keras.Model(model.input, groups)


def test_golden_of_attention_transfer_inference():
    data = golden("at_wrn_10_1.npz")
    model, taps = transfer_model(data)
    x = channels_last(data["x"])
    np.testing.assert_allclose(model(x, training=False), data["logits_eval"], **TOLERANCE)
    for group, features in enumerate(taps(x, training=False)):
        flat = np.square(features).mean(axis=-1).reshape(len(x), -1)
        normalized = flat / np.linalg.norm(flat, axis=-1, keepdims=True)
        np.testing.assert_allclose(normalized, data[f"map_g{group}_eval"], **TOLERANCE)


def test_golden_of_attention_transfer_training():
    data = golden("at_wrn_10_1.npz")
    model, _ = transfer_model(data)
    x = channels_last(data["x"])
    logits = model(x, training=True)
    np.testing.assert_allclose(logits, data["logits_train"], **TOLERANCE)
    for name, values in (("group1_block1_pre_bn", 2 * 32 * 32), ("group3_bn", 2 * 8 * 8)):
        theirs = authors_names(name)
        layer = model.get_layer(name)
        mean = data[f"train_running/{theirs}.running_mean"]
        np.testing.assert_allclose(layer.moving_mean, mean, **TOLERANCE)
        # Their running variance is that of a sample, ours that of the batch itself.
        before = 0.9 * data[f"w/{theirs}.running_var"]
        variance = (data[f"train_running/{theirs}.running_var"] - before) * (values - 1) / values
        np.testing.assert_allclose(layer.moving_variance, before + variance, **TOLERANCE)


def test_probabilities_of_one_model_train_as_logarithms_of_another(rng):
    """The model that is served and the one that is trained share all weights."""
    options = {"attention_depth": 1, "attention_width": 2}
    model = ka.applications.WARN(10, 0.5, input_shape=(8, 8, 3), classes=3, **options)
    for_training = keras.Model(model.input, model.get_layer("rectify").output)
    x = rng.uniform(size=(4, 8, 8, 3)).astype("float32")
    before = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(
        before, keras.ops.softmax(for_training(x, training=False)), atol=1e-6
    )
    loss = ka.losses.NegativeLogLikelihood()
    for_training.compile("sgd", loss, metrics=["accuracy"], run_eagerly=EAGERLY)
    for_training.fit(x, np.array([0, 1, 2, 0]), verbose=0)
    after = keras.ops.convert_to_numpy(model(x, training=False))
    assert np.abs(after - before).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("WideResNet", {"depth": 12}, "Received: depth=12"),
        ("WideResNet", {"depth": 4}, "Received: depth=4"),
        ("WideResNet", {"width": 0}, "Received: width=0"),
        ("WideResNet", {"width": 0.01}, "Received: width=0.01"),
        ("WideResNet", {"variant": "wide"}, "Received: variant='wide'"),
        ("WARN", {**SMALL, "dropout": 1.0}, "Received: dropout=1.0"),
        ("WARN", {**SMALL, "attention_depth": 4}, "Received: attention_depth=4"),
        ("WARN", {**SMALL, "attention_depth": 0}, "Received: attention_depth=0"),
        ("WARN", {**SMALL, "attention_width": 0}, "Received: heads=0"),
        ("ClutteredCNN", {"attention_depth": 6}, "Received: attention_depth=6"),
        ("ClutteredCNN", {"filters": 0}, "Received: filters=0"),
    ],
)
def test_bad_options(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        ka.applications.build(name, **arguments)


@pytest.mark.parametrize("variant", ["warn", "at"])
def test_plain_network_of_any_size(variant, rng):
    options = {"depth": 10, "width": 0.5, "variant": variant, "classes": 3}
    model = ka.applications.WideResNet(input_shape=(None, None, 2), **options)
    logits = ka.applications.WideResNet(
        input_shape=(9, 14, 2), classifier_activation=None, **options
    )
    logits.set_weights(model.get_weights())
    x = rng.uniform(size=(2, 9, 14, 2)).astype("float32")
    np.testing.assert_allclose(model(x), keras.ops.softmax(logits(x)), atol=1e-5)
    features = ka.applications.WideResNet(
        input_shape=(9, 14, 2), include_top=False, pooling="avg", **options
    )
    assert features.output_shape == (None, 32)
