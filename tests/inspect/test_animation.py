import random
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

import keras_attention as ka
from tests.harness import EAGERLY, cross_section, slow_on_jax


def network(layer):
    """A classifier with three classes."""
    parts = [keras.Input((8, 8, 1)), layer, keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([*parts, keras.layers.Dense(3, activation="softmax")])


MODELS = {
    "windows": lambda: network(ka.layers.TargetLayer(4, 3, roi="mask")),
    "masks": lambda: network(ka.layers.CBAM(reduction=1)),
}


def fit(model, rng, callbacks=(), epochs=3):
    x, y = rng.uniform(size=(4, *model.input_shape[1:])), np.arange(4) % 3
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=EAGERLY)
    model.fit(x, y, batch_size=2, epochs=epochs, verbose=0, shuffle=False, callbacks=[*callbacks])
    return model


@slow_on_jax
@pytest.mark.parametrize("kind", cross_section(MODELS, fast={"windows"}))
def test_frames_of_training(kind, rng, tmp_path):
    model, path = MODELS[kind](), tmp_path / "new" / "attention.gif"
    images = rng.uniform(size=(1, *model.input_shape[1:]))
    animation = ka.inspect.AttentionAnimation(images, path, frequency=2, duration=0.1)
    fit(model, rng, [animation], epochs=4)
    with Image.open(path) as image:
        assert image.n_frames == 3, "before training, after two and after four epochs"
        durations = []
        for frame in range(3):
            image.seek(frame)
            durations.append(image.info["duration"])
        assert durations == [100, 100, 500]
    first, *_, last = (np.asarray(frame.convert("RGB"), int) for frame in animation.frames)
    assert first.shape == last.shape
    assert np.abs(first - last).max() > 50
    assert [one.name for one in path.parent.iterdir()] == ["attention.gif"]


def test_training_gives_the_same_weights(rng, tmp_path):
    layers = [ka.layers.TargetLayer(3, 3), keras.layers.GlobalAveragePooling2D()]
    layers += [keras.layers.Dropout(0.5), keras.layers.Dense(3, activation="softmax")]

    def train(*callbacks):
        keras.utils.set_random_seed(3)
        stack = [layer.__class__.from_config(layer.get_config()) for layer in layers]
        model = keras.Sequential([keras.Input((6, 6, 1)), *stack])
        return fit(model, np.random.default_rng(1), callbacks).get_weights()

    images = rng.uniform(size=(1, 6, 6, 1))
    animated = train(ka.inspect.AttentionAnimation(images, tmp_path / "a.gif"))
    for one, other in zip(animated, train(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_one_file_for_each_fit(rng, tmp_path):
    model = MODELS["windows"]()
    animation = ka.inspect.AttentionAnimation(rng.uniform(size=(1, 8, 8, 1)), tmp_path / "a.webp")
    for epochs in (2, 1):
        fit(model, rng, [animation], epochs)
        assert len(animation.frames) == 1 + epochs


@pytest.mark.slow
def test_resumes_in_another_process(rng, tmp_path):
    """The animation keeps its frames, and the windows before training."""
    model, images = MODELS["windows"](), rng.uniform(size=(1, 8, 8, 1))

    def begin(animation):
        animation.set_model(model)
        animation.on_train_begin()
        return animation

    def train():
        for layer in (one for one in model.layers if isinstance(one, ka.layers.TargetLayer)):
            layer.center.assign_add(layer.scale)

    def finish(animation, first):
        for epoch in (first, first + 1):
            train()
            animation.on_epoch_end(epoch)
        animation.on_train_end()

    whole = begin(ka.inspect.AttentionAnimation(images, tmp_path / "whole.gif"))
    train()
    whole.on_epoch_end(0)
    state, kept = whole.get_state(), model.get_weights()
    finish(whole, 1)

    model.set_weights(kept)
    resumed = begin(ka.inspect.AttentionAnimation(images, tmp_path / "resumed.gif"))
    resumed.set_state(state)
    finish(resumed, 1)
    assert (tmp_path / "resumed.gif").read_bytes() == (tmp_path / "whole.gif").read_bytes()


# Files of each epoch


def stack(*layers):
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            *layers,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def distiller():
    student, teacher = (stack(keras.layers.Conv2D(3, 3, name="conv")) for _ in range(2))
    return ka.training.AttentionDistiller(student, teacher, ["conv"])


class NoiseInInference(keras.layers.Layer):
    """Layer that draws random numbers in inference, too, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(1)
        self.calls = self.add_weight(shape=(), trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return inputs + 0.1 * keras.random.normal(keras.ops.shape(inputs), seed=self.seed)


LOGGED = {
    "windows": lambda: stack(ka.layers.TargetLayer(3, 3)),
    "masks": lambda: stack(ka.layers.CBAM(reduction=1)),
    "state": lambda: stack(NoiseInInference(), ka.layers.CBAM(reduction=1)),
    "distiller": distiller,
}


@slow_on_jax
@pytest.mark.parametrize("kind", cross_section(LOGGED, fast={"windows", "distiller"}))
def test_logging_does_not_change_the_training(kind, rng, tmp_path):
    """The weights, the random numbers of Python and NumPy, and the order of the data are equal."""
    x, y = rng.uniform(size=(6, 6, 6, 1)), np.arange(6) % 3

    def train(*callbacks):
        keras.utils.set_random_seed(3)
        model = LOGGED[kind]()
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=EAGERLY)
        model.fit(x, y, batch_size=2, epochs=3, verbose=0, callbacks=[*callbacks])
        model.fit(x, y, batch_size=2, epochs=1, verbose=0)
        weights = [keras.ops.convert_to_numpy(weight) for weight in model.variables]
        return [*weights, random.random(), np.random.uniform(), keras.layers.Dropout(0.5).seed]

    logger = ka.training.AttentionLogger(x[:2], tmp_path / "new", frequency=2, dpi=60)
    logged, plain = train(logger), train()
    for one, other in zip(logged, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [path.name for path in (tmp_path / "new").glob("*.png")] == ["epoch-002.png"]
    assert (tmp_path / "new" / "epoch-002.png").read_bytes().startswith(b"\x89PNG")


def test_logged_options(rng, tmp_path):
    model = MODELS["masks"]()
    images = rng.uniform(0, 255, size=(1, 8, 8, 1))
    options = {"image_range": (0, 255), "labels": [1], "class_names": ["a", "b", "c"]}
    logger = ka.training.AttentionLogger(images, tmp_path, grad_cam=True, **options)
    fit(model, rng, [logger], epochs=2)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["epoch-001.png", "epoch-002.png"]
    _check_tensorboard(tmp_path, names)
    state = logger.get_state()
    logger.set_state(state)
    for arguments, message in (({"frequency": 0}, "frequency=0"), ({"dpi": 0.5}, "dpi=0.5")):
        with pytest.raises(ValueError, match=message):
            ka.training.AttentionLogger(images, tmp_path, **arguments)


def _check_tensorboard(folder, names):
    """TensorBoard's own reader finds the figures of both epochs."""
    from tensorboard.backend.event_processing import event_accumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protobuf
        events = event_accumulator.EventAccumulator(str(folder)).Reload().Images("attention")
    written = {event.step: event.encoded_image_string for event in events}
    assert set(written) <= {1, 2}
    for step, name in enumerate(names, 1):
        assert written[step] == (folder / name).read_bytes()


def test_animations_in_the_range_of_the_model(rng, tmp_path):
    layers = [keras.layers.Rescaling(1 / 255), ka.layers.CBAM(reduction=1)]
    model = stack(*layers)
    images = rng.uniform(0, 255, size=(1, 6, 6, 1))
    animation = ka.inspect.AttentionAnimation(images, tmp_path / "a.gif", dpi=40)
    fit(model, rng, [animation], epochs=1)
    assert len(animation.frames) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a.jpg"}, r"`path`.*'\.gif'.*Received.*'\.jpg'"),
        ({"frequency": 0}, "`frequency`.*Received: frequency=0"),
        ({"duration": 0.0}, "`duration`.*Received: duration=0.0"),
        ({"dpi": 1.5}, "`dpi`.*Received: dpi=1.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ka.inspect.AttentionAnimation(
            **{"images": np.zeros((1, 8, 8, 1)), "path": "a.gif"} | arguments
        )


def test_models_without_attention(rng, tmp_path):
    model = ka.applications.DN10((8, 8, 1), classes=3)
    animation = ka.inspect.AttentionAnimation(rng.uniform(size=(1, 8, 8, 1)), tmp_path / "a.gif")
    with pytest.raises(ValueError, match="must contain an attention mechanism"):
        fit(model, rng, [animation])
    assert not list(tmp_path.iterdir())
