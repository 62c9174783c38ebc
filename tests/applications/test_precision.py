"""Every model in half precision, compiled by XLA and not: what it answers, and what it learns.

The bounds are those of docs/guides/scale_out.md. All models in all ways take twenty minutes of a
processor; a change runs one of each mechanism in one way.
"""

import functools
import warnings

import keras
import numpy as np
import pytest

from tests import documents, harness, model_cases
from tests.applications.test_all_models import images, values

# How far logits may be from those in float32, as shares of the largest: float16 rounds to
# 5e-4 of a value, bfloat16 to 4e-3, and networks are up to 50 layers deep.
BOUNDS = {"float32": 1e-4, "mixed_float16": 0.01, "mixed_bfloat16": 0.08}
# A loss scale is halved until gradients are finite: from 2^15 to 1 at most.
SKIPPED_STEPS = 15
CASES = {str(case): case for case in model_cases.EVERY_CASE}
# Of each mechanism, a step under XLA; answers of what is soon compiled.
STEPS = {
    "TKN6": "mixed_bfloat16",
    "LeNet5-san-c": "mixed_float16",
    "WARN-10-0.25-2": "mixed_bfloat16",
    "DCN-3": "mixed_float16",
}
ANSWERS = {"LeNet5-san-c": "mixed_float16"}


def every_way(quickly):
    """Each model under each policy, compiled or not; few of them without `-m slow`."""
    return pytest.mark.parametrize(("name", "policy", "compiled"), list(rows(quickly)))


def rows(quickly):
    for name in CASES:
        for policy in BOUNDS:
            for compiled in (False, True):
                quick = compiled and quickly.get(name) == policy
                marks = () if quick else (pytest.mark.slow, pytest.mark.timeout(1200))
                yield pytest.param(
                    name, policy, compiled, marks=marks, id=f"{name}-{policy}-{compiled}"
                )


@functools.cache
def in_float32(name):
    """Weights off their first values, images, and the logits of them."""
    keras.config.set_dtype_policy("float32")
    case, model = CASES[name], logits_of(name)
    harness.jitter(model)
    x = images(case, np.random.default_rng(0))
    return model.get_weights(), x, values(model, x)


def logits_of(name):
    case = CASES[name]
    keras.utils.set_random_seed(0)
    return case.make(classifier_activation=None, **case.all_chosen)


@every_way(ANSWERS)
def test_answers(name, policy, compiled):
    weights, x, expected = in_float32(name)
    keras.config.set_dtype_policy(policy)
    model = logits_of(name)
    model.set_weights(weights)
    model.compile(jit_compile=compiled)
    answers = keras.tree.flatten(model.predict_on_batch(x))
    assert all(answer.dtype == np.float32 for answer in answers)
    got = np.concatenate(answers, axis=-1)
    np.testing.assert_allclose(got, expected, rtol=0, atol=BOUNDS[policy] * np.abs(expected).max())


@functools.cache
def learned_in_float32(name):
    """Weights before a step, and for each whether the step moved it."""
    keras.config.set_dtype_policy("float32")
    model, x, y = learner(name)
    before = model.get_weights()
    return before, step(model, x, y)


def learner(name):
    """A model whose weights all have something to learn, images and answers."""
    case = CASES[name]
    keras.utils.set_random_seed(0)
    # Decay would move all kernels, whatever reaches them.
    model = harness.without_dropout(case.make(weight_decay=0.0, **case.all_chosen))
    harness.jitter(model)
    y = tuple(np.arange(4) % classes for classes in case.answers)
    return model, images(case, np.random.default_rng(0)), y if len(y) > 1 else y[0]


def step(model, x, y, compiled=False):
    """Learns from one batch; says of each trainable weight whether it moved.

    A loss scale that is too large skips the step and is halved.
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
            raise AssertionError("gradients overflow, whatever the loss scale")
    pairs = zip(model.trainable_weights, before, strict=True)
    return [not np.array_equal(weight.numpy(), old) for weight, old in pairs]


def took_step(optimizer):
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return int(inner.iterations) > 0


@every_way(STEPS)
def test_a_step(name, policy, compiled):
    before, expected = learned_in_float32(name)
    keras.config.set_dtype_policy(policy)
    model, x, y = learner(name)
    model.set_weights(before)
    moved = step(model, x, y, compiled)
    scales = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (policy == "mixed_float16"), "Keras scales losses by itself"
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)
    idle = CASES[name].idle_weights  # a rounding moves them
    still = [
        weight.path
        for weight, moves, expects in zip(model.trainable_weights, moved, expected, strict=True)
        if expects and not moves and not weight.path.endswith(tuple(idle))
    ]
    assert not still, f"these move in float32 alone: {still}"


def test_the_guide_states_the_bounds():
    guide = (documents.ROOT / "docs" / "guides" / "scale_out.md").read_text(encoding="utf-8")
    for policy, bound in BOUNDS.items():
        assert f"| `{policy}` | {100 * bound:g} % |" in guide
