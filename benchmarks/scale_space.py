"""Latency of Scale-Space Attention: soft extrema and max pooling, training steps and CBAM.

Soft extrema, and the operations that SAN adds to them, are compared with a 3x3 max pooling of the
same tensor, forward and backward. Training steps of VGG16 and ResNet18 at 32x32x3 and of LeNet5 at
28x28x1, batch 64, are compared with the plain network and with a network that has only SAN's
smoothing convolutions. The latter is a lower bound: it would be reached if the difference, the
extrema, the sigmoid and the product took no time. Calls are interleaved in one process; times are
medians.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import ratios
import tensorflow as tf

import keras_attention as ka
from keras_attention import backend
from keras_attention.inspect import interleaved_timing

BATCH = 64
SHAPES = ((32, 32, 64), (16, 16, 128), (8, 8, 256), (28, 28, 6))
# Attention and its options; keys are the names in the tables.
KINDS = {
    "plain": (None, {}),
    "SAN-c": ("san-c", {}),
    "SAN-d": ("san-d", {}),
    "SAN-c, depthwise": ("san-c", {"smoothing": "depthwise"}),
    "SAN-d, depthwise": ("san-d", {"smoothing": "depthwise"}),
    "CBAM": ("cbam", {}),
    "BAM": ("bam", {}),
}
# Dilated smoothing is measured in the small network only.
LARGE = [name for name in KINDS if not name.startswith("SAN-d")]
NETWORKS = {"VGG16": (32, 32, 3), "ResNet18": (32, 32, 3), "LeNet5": (28, 28, 1)}


def main() -> None:
    """Prints the tables of soft extrema and of training steps."""
    extrema()
    for network in NETWORKS:
        for placement in ("bottleneck", "full") if network != "LeNet5" else ("bottleneck",):
            steps(network, placement)


@keras.saving.register_keras_serializable(package="keras_attention_benchmarks")
class SmoothingAlone(ka.layers.SANBlock):
    """The smoothing convolution of a SAN block without its other operations."""

    def call(self, inputs: list) -> object:
        return self._smooth(inputs[1])


def extrema() -> None:
    """Prints the times of soft extrema, alone and weighting a difference, and in a SavedModel."""
    print(f"Soft extrema, batch {BATCH}, ms (ratio to a 3x3 max pool):\n")
    print(
        "| map | 3x3 max pool, forward | soft extrema | the same, not fused | in a SavedModel | "
        "3x3 max pool, forward and backward | weighted extrema, forward and backward | not fused |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for shape in SHAPES:
        x, y = (tf.random.normal((BATCH, *shape), seed=seed) for seed in (0, 1))
        pool = lambda x, y: tf.nn.max_pool2d(x, 3, 1, "SAME")  # noqa: E731
        alpha = lambda x, y: ka.ops.soft_extrema(x)  # noqa: E731
        both = ka.ops.weighted_extrema
        calls = {
            "pool": graph(pool),
            "alpha": graph(alpha),
            "alpha not fused": graph(unfused(alpha)),
            "served": served(alpha, shape),
            "pool, back": graph(trained(pool)),
            "weighted, back": graph(trained(both)),
            "weighted not fused, back": graph(unfused(trained(both))),
        }
        times = interleaved_timing(
            {name: wait(call, x, y) for name, call in calls.items()}, rounds=31
        )
        cells = []
        for name, seconds in times.items():
            base = times["pool, back" if name.endswith("back") else "pool"]
            ratio = "" if name.startswith("pool") else f" ({seconds / base:.2f})"
            cells.append(f"{1e3 * seconds:.2f}{ratio}")
        print(f"| {'x'.join(map(str, shape))} | {' | '.join(cells)} |", flush=True)
        record_extrema("x".join(map(str, shape)), times)
    print()


def record_extrema(shape: str, times: dict[str, float]) -> None:
    """Records the ratios of soft extrema to a max pooling."""
    found = {
        "soft extrema": times["alpha"] / times["pool"],
        "soft extrema in a SavedModel": times["served"] / times["pool"],
        "weighted extrema and gradients": times["weighted, back"] / times["pool, back"],
    }
    for name, ratio in found.items():
        ratios.record(f"{name} / 3x3 max pool, {shape}", ratio, at_most=3.0)


def steps(network: str, placement: str) -> None:
    """Prints the training step of a network with each kind of attention."""
    shape = NETWORKS[network]
    calls, macs = {}, {}
    kinds = list(KINDS) if network == "LeNet5" else LARGE
    for name in kinds:
        attention, options = KINDS[name]
        model = ka.applications.build(
            network,
            input_shape=shape,
            classes=10,
            attention=attention,
            placement=placement,
            attention_options=options,
        )
        models = {name: model}
        if name == "SAN-c":
            models[f"smoothing of {name} alone"] = keras.models.clone_model(
                model, clone_function=smoothing_alone
            )
        for key, value in models.items():
            calls[key], macs[key] = step(value, shape), ka.inspect.count_macs(value)
    times = interleaved_timing(calls, *((5, 2) if network != "LeNet5" else (61, 3)))
    print(f"Training step of {network}, {placement} placement, batch {BATCH}:\n")
    print("| attention | MACs | ms | / plain | / smoothing alone | / CBAM | / BAM |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in kinds:
        bases = ("plain", f"smoothing of {name} alone", "CBAM", "BAM")
        cells = [f"{times[name] / times[base]:.2f}" if base in times else "" for base in bases]
        print(
            f"| {name} | {macs[name] / 1e6:.1f}M | {1e3 * times[name]:.1f} | {' | '.join(cells)} |"
        )
    print()
    record_steps(network, placement, times)


def record_steps(network: str, placement: str, times: dict[str, float]) -> None:
    """Records the ratios of a step with SAN to the other networks, with their bars."""
    where = f"training step of {network}, {placement}"
    if network == "LeNet5":
        ratios.record(f"{where}: SAN-c / plain", times["SAN-c"] / times["plain"], at_most=1.5)
        return
    least = times["smoothing of SAN-c alone"]
    ratios.record(f"{where}: SAN-c / its smoothing alone", times["SAN-c"] / least, at_most=1.10)
    for other in ("CBAM", "BAM"):
        ratio = times["SAN-c, depthwise"] / times[other]
        ratios.record(f"{where}: SAN-c, depthwise / {other}", ratio, at_most=1.0)


def smoothing_alone(layer: keras.Layer) -> keras.Layer:
    """Copies a layer; of a SAN block only the smoothing convolution remains."""
    kind = SmoothingAlone if type(layer) is ka.layers.SANBlock else type(layer)
    return kind.from_config(layer.get_config())


def step(model: keras.Model, shape: tuple) -> Callable[[], object]:
    """Returns a call for one training step."""
    model.compile(keras.optimizers.SGD(1e-6), "sparse_categorical_crossentropy")
    images = tf.random.uniform((BATCH, *shape), seed=0)
    labels = tf.zeros(BATCH, tf.int64)
    return lambda: model.train_on_batch(images, labels)


def graph(function: Callable) -> Callable:
    """Traces a function to a graph without XLA, as in training."""
    return tf.function(function, autograph=False)


def trained(function: Callable) -> Callable:
    """Returns a function that computes the value and its gradients."""

    def value_and_gradients(*tensors: tf.Tensor) -> list:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
            total = tf.reduce_sum(value)
        return [value, *(g for g in tape.gradient(total, tensors) if g is not None)]

    return value_and_gradients


def unfused(function: Callable) -> Callable:
    """Disables the compilation of elementwise operations in a function."""

    def plain(*tensors: tf.Tensor) -> object:
        with backend.fusion_disabled():
            return function(*tensors)

    return plain


def served(function: Callable, shape: tuple) -> Callable:
    """Exports a function for any image size and loads it again."""
    spec = tf.TensorSpec((None, None, None, shape[-1]))
    module = tf.Module()
    module.call = tf.function(function, input_signature=[spec, spec], autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "served")
        tf.saved_model.save(module, path)
        loaded = tf.saved_model.load(path)
    return lambda x, y, keep=loaded: loaded.call(x, y)


def wait(call: Callable, x: tf.Tensor, y: tf.Tensor) -> Callable[[], object]:
    """Returns a call that waits for its last result."""
    return lambda: tf.nest.flatten(call(x, y))[-1].numpy()


if __name__ == "__main__":
    main()
