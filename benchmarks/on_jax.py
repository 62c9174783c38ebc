"""Each mechanism beside its plain counterpart on JAX, on whatever device it has.

Times of an answer and of a training step, compiled, and their ratios to the counterpart's. Calls
take turns in one process; medians. Networks are small, so that two CPU cores take two minutes;
`--paper` has those of the papers, for a GPU. TensorFlow is not needed.
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
    """A network, and the one that it is compared with; both take the same images."""

    name: str
    plain: str
    make: Callable[[], keras.Model]
    make_plain: Callable[[], keras.Model]
    # Timed three times: a step that takes seconds on a CPU.
    is_slow: bool = False


def main() -> None:
    """Prints a row a mechanism, then the extrema of Scale-Space Attention."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32, help="images (32)")
    parser.add_argument("--rounds", type=int, default=7, help="times each is timed (7)")
    parser.add_argument("--paper", action="store_true", help="networks as wide as the papers'")
    options = parser.parse_args()
    device = jax.devices()[0]
    print(f"JAX on {len(jax.devices())} x {device.device_kind}, batch {options.batch_size}.\n")
    print("| network | beside | answer, ms | times | training step, ms | times |")
    print("| --- | --- | --- | --- | --- | --- |")
    for pair in pairs(options.paper):
        print(row(pair, options.batch_size, options.rounds), flush=True)
    print()
    for line in extrema(options.batch_size, options.rounds):
        print(line, flush=True)


def pairs(paper: bool) -> list[Pair]:
    """One of each mechanism."""
    apps = ka.applications
    depth, width = (28, 10) if paper else (10, 1)
    wide = {"input_shape": (32, 32, 3), "classes": 10}
    digits = {"input_shape": (28, 28, 1)}
    resnet = {"input_shape": (32, 32, 3), "stem": "cifar", **({} if paper else {"width": 16})}
    return [
        Pair("TKN6, whole maps", "CNN6", lambda: apps.TKN6(**digits), lambda: apps.CNN6(**digits)),
        Pair(
            "TKN6, 4 regions of 1/16 a layer",
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
    """Each quarter of the kernels looks at a sixteenth of its map, in slices of fixed sizes."""
    places = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, ka.layers.TargetLayer):
            layer.center.assign(places.uniform(0.3, 0.7, layer.center.shape))
            layer.scale.assign(np.full(layer.scale.shape, SCALE))
            layer.regroup(layer.plan_groups(fixed_shapes=True))
    return model


def student(paper: bool, wide: dict[str, Any]) -> keras.Model:
    """A small residual network."""
    return ka.applications.WideResNet(16 if paper else 10, 1, "at", **wide)


def distiller(paper: bool, wide: dict[str, Any]) -> keras.Model:
    """The student and its teacher, twice as wide."""
    teacher = ka.applications.WideResNet(16 if paper else 10, 2, "at", **wide)
    groups = ["group1", "group2", "group3"]
    return ka.training.AttentionDistiller(student(paper, wide), teacher, groups)


def row(pair: Pair, batch: int, rounds: int) -> str:
    """Times both, by turns."""
    models = {pair.name: pair.make(), pair.plain: pair.make_plain()}
    shape = models[pair.plain].input_shape[1:]
    rng = np.random.default_rng(0)
    x = jax.device_put(rng.uniform(size=(batch, *shape)).astype("float32"))
    y = jax.device_put(np.arange(batch) % models[pair.plain].output_shape[-1])
    often = {"rounds": 3, "warm_up": 1} if pair.is_slow else {"rounds": rounds}
    answers = interleaved_timing({name: answer(model, x) for name, model in models.items()}, **often)
    steps = interleaved_timing({name: step(model, x, y) for name, model in models.items()}, **often)
    cells = []
    for what, times in (("answer", answers), ("training step", steps)):
        mine, plain = (1e3 * times[name] for name in (pair.name, pair.plain))
        cells += [f"{mine:.1f}, {plain:.1f}", f"{mine / plain:.2f}"]
        ratios.keep(f"{what}: {pair.name} / {pair.plain}", mine / plain)
    return f"| {pair.name} | {pair.plain} | {' | '.join(cells)} |"


def answer(model: keras.Model, x: jax.Array) -> Callable[[], Any]:
    """Inference, compiled."""
    weights = [
        [variable.value for variable in kind]
        for kind in (model.trainable_variables, model.non_trainable_variables)
    ]
    compiled = jax.jit(lambda kept, images: model.stateless_call(*kept, images, training=False)[0])
    return lambda: jax.block_until_ready(compiled(weights, x))


def step(model: keras.Model, x: jax.Array, y: jax.Array) -> Callable[[], Any]:
    """Keras's training step, compiled, from the same state each time."""
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
    """Soft extrema beside a 3x3 max pool of the same map, forward, and forward and backward."""
    yield "| map | 3x3 max pool, ms | soft extrema | pool and back, ms | extrema and back |"
    yield "| --- | --- | --- | --- | --- |"
    for shape in MAPS:
        keys = jax.random.split(jax.random.key(0))
        pair = [jax.random.normal(key, (batch, *shape)) for key in keys]
        calls = {
            "pool": lambda y_prev, y: pool(y),
            "extrema": lambda y_prev, y: ka.ops.soft_extrema(y),
            "pool and back": trained(lambda y_prev, y: pool(y)),
            "extrema and back": trained(ka.ops.weighted_extrema),
        }
        compiled = {name: jax.jit(call) for name, call in calls.items()}
        times = interleaved_timing(
            {n: lambda c=c, p=pair: jax.block_until_ready(c(*p)) for n, c in compiled.items()},
            rounds,
        )
        cells = []
        for way in ("", " and back"):
            mine, plain = (1e3 * times[name + way] for name in ("extrema", "pool"))
            cells += [f"{plain:.2f}", f"{mine:.2f} ({mine / plain:.2f})"]
        yield f"| {'x'.join(map(str, shape))} | {' | '.join(cells)} |"


def pool(x: jax.Array) -> jax.Array:
    """Keras's max pool of 3x3 pixels, stride 1."""
    return keras.ops.max_pool(x, 3, strides=1, padding="same")


def trained(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The function's value and its gradients."""

    def value_and_gradients(y_prev: jax.Array, y: jax.Array) -> tuple[Any, Any]:
        value, pull = jax.vjp(function, y_prev, y)
        return value, pull(jax.numpy.ones_like(value))

    return value_and_gradients


if __name__ == "__main__":
    main()
