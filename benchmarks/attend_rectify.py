"""Latency of WARN compared with the wide residual network that it extends.

Forward passes and training steps at 32x32x3, 10 classes, batch 32, 3 modules of 4 heads. "One
convolution" is WARN with its modules computed as the paper describes them: one convolution of the
map for all operations, instead of sums of the map weighted by shifted masks. Both give equal
values. "Normalized stem" is WARN without modules and gates. These two are measured with the thin
network only. Calls are interleaved in one process; times are medians.
"""

from collections.abc import Callable, Mapping

import keras
import ratios
import tensorflow as tf
from keras import ops

import keras_attention as ka
from keras_attention.inspect import interleaved_timing

BATCH = 32
SHAPE = (32, 32, 3)
# Depth, width, rounds of inference, rounds of training, bar for inference.
NETWORKS = ((28, 10, 7, 5, 1.05), (16, 2, 101, 41, 1.15))
TRAINING_BAR = 1.10


def main() -> None:
    """Prints the tables of inference and training for each network."""
    images = tf.random.uniform((BATCH, *SHAPE), seed=0)
    for depth, width, forward, training, bar in NETWORKS:
        models = build_models(depth, width)
        if width == 10:
            models = {name: models[name] for name in ("WRN", "WARN")}
        else:
            check_equal_outputs(models)
        size = (depth, width)
        times = interleaved_timing(forward_passes(models, images), forward, 2)
        report(size, "Forward pass", models, times, bar)
        times = interleaved_timing(training_steps(models, images), training, 2)
        report(size, "Training step", models, times, TRAINING_BAR)
        keras.utils.clear_session()


@keras.saving.register_keras_serializable(package="keras_attention_benchmarks")
class OneConvolution(ka.layers.AttentionModule):
    """An attention module computed by one convolution, followed by masks, sums and gates."""

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        return_attention: bool = False,
        return_gates: bool = False,
    ) -> tuple:
        """Returns the module's output, masks and gates."""
        kernels = (self.attention_kernel, self.output_kernel, self.score_kernel)
        maps = ops.conv(inputs, ops.concatenate(kernels, axis=-1), padding="same")
        masks = ka.ops.spatial_softmax(maps[..., : self.heads])
        if training:
            self.add_loss(self.overlap_weight * ka.ops.head_overlap(masks))
        batch, positions = ops.shape(maps)[0], maps.shape[1] * maps.shape[2]
        flat = ops.reshape(masks, (batch, positions, self.heads))
        hypotheses = ops.reshape(
            maps[..., self.heads : -self.heads], (batch, positions, self.heads, self.classes)
        )
        scores = ops.reshape(maps[..., -self.heads :], (batch, positions, self.heads))
        gates = ops.softmax(ops.tanh(ops.sum(flat * scores, axis=1)))
        outputs = ops.sum(ops.expand_dims(flat, -1) * hypotheses, axis=1)
        return ops.sum(ops.expand_dims(gates, -1) * outputs, axis=1), masks, gates


def build_models(depth: int, width: int) -> dict[str, keras.Model]:
    """Builds the networks to compare; keys are their names in the tables."""
    warn = ka.applications.WARN(depth, width, classifier_activation=None)
    whole = ka.applications.WARN(depth, width, classifier_activation=None)
    head = whole.get_layer("rectify")
    for module in head.modules:
        module.__class__ = OneConvolution
    whole.set_weights(warn.get_weights())
    return {
        "WRN": ka.applications.WideResNet(depth, width, classifier_activation=None),
        "normalized stem": keras.Model(warn.input, warn.get_layer("logits").output),
        "WARN": warn,
        "WARN, one convolution": whole,
    }


def check_equal_outputs(models: Mapping[str, keras.Model]) -> None:
    """Checks that both ways to compute WARN give equal outputs."""
    images = tf.random.uniform((2, *SHAPE), seed=1)
    ours, theirs = (models[name](images) for name in ("WARN", "WARN, one convolution"))
    tf.debugging.assert_near(ours, theirs, atol=1e-3, rtol=1e-3)


def forward_passes(models: Mapping[str, keras.Model], images: tf.Tensor) -> dict[str, Callable]:
    """Returns calls for inference in a graph, as a server runs it."""
    calls = {}
    for name, model in models.items():
        graph = tf.function(lambda x, model=model: model(x, training=False), autograph=False)
        calls[name] = lambda graph=graph: graph(images).numpy()
    return calls


def training_steps(models: Mapping[str, keras.Model], images: tf.Tensor) -> dict[str, Callable]:
    """Returns calls for a training step, compiled by Keras."""
    labels, calls = tf.zeros(BATCH, tf.int64), {}
    for name, model in models.items():
        loss = ka.losses.NegativeLogLikelihood()
        if "WARN" not in name:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = keras.optimizers.SGD(1e-6, momentum=0.9, nesterov=True)
        model.compile(optimizer, loss)
        calls[name] = lambda model=model: model.train_on_batch(images, labels)
    return calls


def report(
    size: tuple[int, int],
    title: str,
    models: Mapping[str, keras.Model],
    times: Mapping[str, float],
    bar: float,
) -> None:
    """Prints one table and records WARN's ratio with its bar."""
    depth, width = size
    print(f"{title} of depth {depth}, width {width}, batch {BATCH}:\n")
    print("| network | MACs | executed | ms | / WRN |")
    print("| --- | --- | --- | --- | --- |")
    for name, seconds in times.items():
        macs = ka.inspect.count_macs(models[name])
        executed = ka.inspect.count_macs(models[name], executed="one" not in name)
        print(
            f"| {name} | {macs / 1e6:.1f}M | {executed / 1e6:.1f}M | {1e3 * seconds:.1f} | "
            f"{seconds / times['WRN']:.3f} |"
        )
    print()
    name = f"{title.lower()}: WARN-{depth}-{width} / WRN-{depth}-{width}"
    ratios.record(name, times["WARN"] / times["WRN"], at_most=bar)


if __name__ == "__main__":
    main()
