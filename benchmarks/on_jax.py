"""Latency of each mechanism compared with its plain counterpart on JAX, on any device.

Times of compiled inference and of a compiled training step, and their ratios to the counterpart's.
Calls are interleaved in one process; times are medians. The default networks are small and take
two minutes on two CPU cores; `--paper` selects those of the papers, for a GPU. TensorFlow is not
needed.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
import ratios

import keras_attention as ka
from keras_attention.inspect import interleaved_timing

# A quarter of each side, so that a region is a sixteenth of a map.
SCALE = 0.25 * 2**0.5
MAPS = ((32, 32, 64), (16, 16, 128), (8, 8, 256), (28, 28, 6))


@dataclass(frozen=True)
class Pair:
    """A network and its plain counterpart for the same images."""

    name: str
    plain: str
    make: Callable[[], keras.Model]
    make_plain: Callable[[], keras.Model]
    # A step takes seconds on a CPU, so it is timed only three times.
    is_slow: bool = False


def main() -> None:
    """Prints a row per mechanism, then the extrema of Scale-Space Attention."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--batch-size", type=int, default=32, help="number of images per batch (default: 32)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="number of measurements per call (default: 7)"
    )
    parser.add_argument(
        "--paper", action="store_true", help="networks of the papers' size instead of small ones"
    )
    options = parser.parse_args()
    device = jax.devices()[0]
    print(f"JAX on {len(jax.devices())} x {device.device_kind}, batch {options.batch_size}.\n")
    print("| network | compared with | inference, ms | ratio | training step, ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for pair in pairs(options.paper):
        print(row(pair, options.batch_size, options.rounds), flush=True)
    print()
    for line in extrema(options.batch_size, options.rounds):
        print(line, flush=True)


def pairs(paper: bool) -> list[Pair]:
    """Returns one pair of networks per mechanism."""
    apps = ka.applications
    depth, width = (28, 10) if paper else (10, 1)
    wide = {"input_shape": (32, 32, 3), "classes": 10}
    digits = {"input_shape": (28, 28, 1)}
    resnet = {"input_shape": (32, 32, 3), "stem": "cifar", **({} if paper else {"width": 16})}
    return [
        Pair("TKN6, whole maps", "CNN6", lambda: apps.TKN6(**digits), lambda: apps.CNN6(**digits)),
        Pair(
            "TKN6, 4 regions of 1/16 per layer",
            "CNN6",
            lambda: with_regions(apps.TKN6(**digits, roi_groups=4)),
            lambda: apps.CNN6(**digits),
            is_slow=True,
        ),
        *(
            Pair(
                f"ResNet18, {attention}",
                "ResNet18",
                lambda attention=attention: apps.ResNet18(**resnet, attention=attention),
                lambda: apps.ResNet18(**resnet),
            )
            for attention in ("san-c", "cbam")
        ),
        Pair(
            f"WARN-{depth}-{width}",
            f"WRN-{depth}-{width}",
            lambda: apps.WARN(depth, width, **wide),
            lambda: apps.WideResNet(depth, width, **wide),
        ),
        Pair(
            "student with attention transfer",
            "student alone",
            lambda: distiller(paper, wide),
            lambda: student(paper, wide),
        ),
        Pair("DCN", "its fine model", apps.DCN, apps.DCNFine),
    ]


def with_regions(model: keras.Model) -> keras.Model:
    """Gives each quarter of the kernels a region of 1/16 of the map, as slices of fixed size."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, ka.layers.TargetLayer):
            layer.center.assign(rng.uniform(0.3, 0.7, layer.center.shape))
            layer.scale.assign(np.full(layer.scale.shape, SCALE))
            layer.regroup(layer.plan_groups(fixed_shapes=True))
    return model


def student(paper: bool, wide: dict[str, Any]) -> keras.Model:
    """Builds a small residual network."""
    return ka.applications.WideResNet(16 if paper else 10, 1, "at", **wide)


def distiller(paper: bool, wide: dict[str, Any]) -> keras.Model:
    """Builds a distiller whose teacher is twice as wide as the student."""
    teacher = ka.applications.WideResNet(16 if paper else 10, 2, "at", **wide)
    groups = ["group1", "group2", "group3"]
    return ka.training.AttentionDistiller(student(paper, wide), teacher, groups)


def row(pair: Pair, batch: int, rounds: int) -> str:
    """Times a pair with interleaved calls and formats the row."""
    models = {pair.name: pair.make(), pair.plain: pair.make_plain()}
    shape = models[pair.plain].input_shape[1:]
    rng = np.random.default_rng(0)
    x = jax.device_put(rng.uniform(size=(batch, *shape)).astype("float32"))
    y = jax.device_put(np.arange(batch) % models[pair.plain].output_shape[-1])
    counts = {"rounds": 3, "warm_up": 1} if pair.is_slow else {"rounds": rounds}
    calls = {name: inference(model, x) for name, model in models.items()}
    inference_times = interleaved_timing(calls, **counts)
    calls = {name: training_step(model, x, y) for name, model in models.items()}
    step_times = interleaved_timing(calls, **counts)
    cells = []
    for phase, times in (("inference", inference_times), ("training step", step_times)):
        own, plain = (1e3 * times[name] for name in (pair.name, pair.plain))
        cells += [f"{own:.1f}, {plain:.1f}", f"{own / plain:.2f}"]
        ratios.record(f"{phase}: {pair.name} / {pair.plain}", own / plain)
    return f"| {pair.name} | {pair.plain} | {' | '.join(cells)} |"


def inference(model: keras.Model, x: jax.Array) -> Callable[[], Any]:
    """Returns a call for compiled inference."""
    weights = [
        [variable.value for variable in kind]
        for kind in (model.trainable_variables, model.non_trainable_variables)
    ]
    compiled = jax.jit(
        lambda state, images: model.stateless_call(*state, images, training=False)[0]
    )
    return lambda: jax.block_until_ready(compiled(weights, x))


def training_step(model: keras.Model, x: jax.Array, y: jax.Array) -> Callable[[], Any]:
    """Returns a call for Keras's compiled training step, always from the same state."""
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    state = tuple(
        [variable.value for variable in kind]
        for kind in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    compiled = jax.jit(model.train_step)
    return lambda: jax.block_until_ready(compiled(state, (x, y)))


def extrema(batch: int, rounds: int) -> Iterator[str]:
    """Compares soft extrema with a 3x3 max pooling of the same map, forward and backward."""
    yield "| map | max pool, ms | soft extrema | pool with gradient, ms | extrema with gradient |"
    yield "| --- | --- | --- | --- | --- |"
    for shape in MAPS:
        keys = jax.random.split(jax.random.key(0))
        pair = [jax.random.normal(key, (batch, *shape)) for key in keys]
        calls = {
            "pool": lambda y_prev, y: pool(y),
            "extrema": lambda y_prev, y: ka.ops.soft_extrema(y),
            "pool, backward": trained(lambda y_prev, y: pool(y)),
            "extrema, backward": trained(ka.ops.weighted_extrema),
        }
        compiled = {name: jax.jit(call) for name, call in calls.items()}
        times = interleaved_timing(
            {n: lambda c=c, p=pair: jax.block_until_ready(c(*p)) for n, c in compiled.items()},
            rounds,
        )
        cells = []
        for suffix in ("", ", backward"):
            own, plain = (1e3 * times[name + suffix] for name in ("extrema", "pool"))
            cells += [f"{plain:.2f}", f"{own:.2f} ({own / plain:.2f})"]
        yield f"| {'x'.join(map(str, shape))} | {' | '.join(cells)} |"


def pool(x: jax.Array) -> jax.Array:
    """Applies Keras's 3x3 max pooling with stride 1."""
    return keras.ops.max_pool(x, 3, strides=1, padding="same")


def trained(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Returns a function that computes the value and its gradients."""

    def value_and_gradients(y_prev: jax.Array, y: jax.Array) -> tuple[Any, Any]:
        value, vjp = jax.vjp(function, y_prev, y)
        return value, vjp(jax.numpy.ones_like(value))

    return value_and_gradients


if __name__ == "__main__":
    main()
