import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.distillation.models import (
    batch,
    ready,
    student_of,
)
from tests.golden import TOLERANCE, channels_last, golden

AttentionDistiller = ka.training.AttentionDistiller
GradientAttention = ka.training.GradientAttention
layers = keras.layers


def linear_pair(data):
    """Returns the networks of the derivation: convolution, ReLU, average pooling, dense layer."""
    models = []
    for kernel, top in (("w1_oihw", "w2_out_in"), ("teacher_w1", "teacher_w2")):
        kernel = data[f"grad_at/{kernel}"].transpose(2, 3, 1, 0)
        images = keras.Input((5, 5, 2))
        convolution = layers.Conv2D(
            kernel.shape[-1], 3, padding="same", activation="relu", use_bias=False, name="map"
        )
        means = layers.GlobalAveragePooling2D()(convolution(images))
        dense = layers.Dense(4, use_bias=False, name="top")
        models.append(keras.Model(images, dense(means)))
        models[-1].set_weights([kernel, data[f"grad_at/{top}"].T])
    return models


@pytest.mark.parametrize(("form", "name"), [("squared", "sqnorm"), ("norm", "norm")])
def test_gradient_transfer_equals_equation_4(form, name):
    data = golden("at_paper_maps_gradat_independent.npz")
    student, teacher = linear_pair(data)
    x, y = channels_last(data["grad_at/x"]), data["grad_at/labels"]
    before = [weight.copy() for weight in student.get_weights()]
    term = GradientAttention("transfer", 0.7, form)
    distiller = ready(AttentionDistiller(student, teacher, gradient=term), rate=1.0)
    found = distiller.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(
        found[0] if isinstance(found, list) else found, data[f"grad_at/total_{name}"], **TOLERANCE
    )
    distiller.train_on_batch(x, y)
    steps = [old - new for old, new in zip(before, student.get_weights(), strict=True)]
    kernel = data[f"grad_at/dw1_{name}"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(steps[0], kernel, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(steps[1], data[f"grad_at/dw2_{name}"].T, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("form", "name"), [("squared", "sqnorm"), ("norm", "norm")])
def test_symmetry_equals_equation_6(form, name):
    data = golden("at_paper_maps_gradat_independent.npz")
    student, _ = linear_pair(data)
    x, y = channels_last(data["grad_at/x"]), data["grad_at/labels"]
    term = GradientAttention("symmetry", 2.0, form)
    distiller = ready(AttentionDistiller(student, None, gradient=term))
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)["gradient_loss"]
    np.testing.assert_allclose(found, data[f"grad_at/sym_{name}_mean"], **TOLERANCE)


def test_gradient_with_respect_to_a_layer(rng):
    """J at the map before average pooling is the same at all positions."""
    student = student_of()
    x, y = batch(rng)
    term = GradientAttention("min_l2", 2.0, layer="second")
    distiller = ready(AttentionDistiller(student, None, gradient=term))
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)["gradient_loss"]
    kernel, bias = student.get_layer("top").get_weights()
    maps = keras.Model(student.input, student.get_layer("second").output).predict(x, verbose=0)
    activated = np.tanh(maps)
    logits = activated.mean((1, 2)) @ kernel + bias
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    upstream = (shares - np.eye(3)[y]) @ kernel.T / 16
    expected = np.square(upstream[:, None, None] * (1 - activated**2)).sum((1, 2, 3)).mean()
    assert found == pytest.approx(expected, rel=1e-3)
