"""Outputs and a training step of every model in half precision, with and without XLA.

The bounds are those of docs/guides/scale_out.md. The whole matrix takes 20 minutes on one core;
`make test` runs one model in one configuration.
"""

import functools
import warnings

import keras
import numpy as np
import pytest

from tests import documents, harness, model_cases
from tests.applications.test_all_models import images, values

# Largest differences of logits from those in float32, relative to the largest logit. The relative
# rounding error is 5e-4 in float16 and 4e-3 in bfloat16, and models have up to 50 layers.
BOUNDS = {"float32": 1e-4, "mixed_float16": 0.01, "mixed_bfloat16": 0.08}
# The loss scale is halved until gradients are finite: at most from 2^15 to 1.
SKIPPED_STEPS = 15
CASES = {str(case): case for case in model_cases.EVERY_CASE}
# Fast cases, of a model that compiles fast.
STEPS = {
    "LeNet5-cbam": "mixed_float16",
}
OUTPUTS = {"LeNet5-cbam": "mixed_float16"}


def every_configuration(fast):
    """Parametrizes over models, policies and XLA; all but the fast cases are slow tests."""
    return pytest.mark.parametrize(("name", "policy", "compiled"), list(configurations(fast)))


def configurations(fast):
    for name in CASES:
        for policy in BOUNDS:
            for compiled in (False, True):
                is_fast = compiled and fast.get(name) == policy
                marks = () if is_fast else (pytest.mark.slow, pytest.mark.timeout(1200))
                yield pytest.param(
                    name, policy, compiled, marks=marks, id=f"{name}-{policy}-{compiled}"
                )


@functools.cache
def in_float32(name):
    """Returns perturbed weights, images and their logits."""
    keras.config.set_dtype_policy("float32")
    case, model = CASES[name], logits_of(name)
    harness.jitter(model)
    x = images(case, np.random.default_rng(0))
    return model.get_weights(), x, values(model, x)


def logits_of(name):
    case = CASES[name]
    keras.utils.set_random_seed(0)
    return case.make(classifier_activation=None, **case.unambiguous_choice)


@every_configuration(OUTPUTS)
def test_outputs(name, policy, compiled):
    weights, x, expected = in_float32(name)
    keras.config.set_dtype_policy(policy)
    model = logits_of(name)
    model.set_weights(weights)
    model.compile(jit_compile=compiled)
    outputs = keras.tree.flatten(model.predict_on_batch(x))
    assert all(output.dtype == np.float32 for output in outputs)
    got = np.concatenate(outputs, axis=-1)
    np.testing.assert_allclose(got, expected, rtol=0, atol=BOUNDS[policy] * np.abs(expected).max())


@functools.cache
def step_in_float32(name):
    """Returns the weights before a step, and a flag for each that the step changed."""
    keras.config.set_dtype_policy("float32")
    model, x, y = trainable_model(name)
    before = model.get_weights()
    return before, step(model, x, y)


def trainable_model(name):
    """Returns a model in which all weights get gradients, images and labels."""
    case = CASES[name]
    keras.utils.set_random_seed(0)
    # Weight decay would change all kernels.
    model = harness.without_dropout(case.make(weight_decay=0.0, **case.unambiguous_choice))
    harness.jitter(model)
    y = tuple(np.arange(4) % classes for classes in case.num_classes)
    return model, images(case, np.random.default_rng(0)), y if len(y) > 1 else y[0]


def step(model, x, y, compiled=False):
    """Trains on one batch; returns a flag for each trainable weight that has changed.

    A step with a too large loss scale is skipped, and the scale is halved.
    """
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=compiled)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")  # coarse parts, in SVHNDCN
        for _ in range(SKIPPED_STEPS + 1):
            loss = model.train_on_batch(x, y)
            assert np.isfinite(loss).all()
            if took_step(model.optimizer):
                break
        else:
            raise AssertionError("gradients overflow with every loss scale")
    pairs = zip(model.trainable_weights, before, strict=True)
    return [not np.array_equal(weight.numpy(), old) for weight, old in pairs]


def took_step(optimizer):
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return int(inner.iterations) > 0


@every_configuration(STEPS)
def test_a_step(name, policy, compiled):
    before, expected = step_in_float32(name)
    keras.config.set_dtype_policy(policy)
    model, x, y = trainable_model(name)
    model.set_weights(before)
    moved = step(model, x, y, compiled)
    scales = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (policy == "mixed_float16"), "Keras scales the loss for float16"
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)
    idle = CASES[name].idle_weights  # rounding errors change them
    still = [
        weight.path
        for weight, moves, expects in zip(model.trainable_weights, moved, expected, strict=True)
        if expects and not moves and not weight.path.endswith(tuple(idle))
    ]
    assert not still, f"these change only in float32: {still}"


def test_the_guide_states_the_bounds():
    guide = (documents.ROOT / "docs" / "guides" / "scale_out.md").read_text(encoding="utf-8")
    for policy, bound in BOUNDS.items():
        assert f"| `{policy}` | {100 * bound:g} % |" in guide
