"""Soft extrema on JAX, beside a 3x3 max pool of the same tensor, forward and backward.

Each call is one compiled function. Calls take turns in one process; medians.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras

import keras_attention as ka
from keras_attention.inspect import alternated

BATCH = 64
SHAPES = ((32, 32, 64), (16, 16, 128), (8, 8, 256), (28, 28, 6))


def main() -> None:
    """Prints a row a map."""
    print(f"Soft extrema on JAX, batch {BATCH}, ms (times a 3x3 max pool's):\n")
    print(
        "| map | 3x3 max pool, forward | soft extrema | 3x3 max pool, forward and backward | "
        "weighted extrema, forward and backward |"
    )
    print("| --- | --- | --- | --- | --- |")
    for shape in SHAPES:
        keys = jax.random.split(jax.random.key(0))
        pair = [jax.random.normal(key, (BATCH, *shape)) for key in keys]
        calls = {
            "pool": lambda y_prev, y: pool(y),
            "alpha": lambda y_prev, y: ka.ops.soft_extrema(y),
            "pool, back": trained(lambda y_prev, y: pool(y)),
            "weighted, back": trained(ka.ops.weighted_extrema),
        }
        compiled = {name: jax.jit(call) for name, call in calls.items()}
        times = alternated(
            {n: lambda c=c, p=pair: jax.block_until_ready(c(*p)) for n, c in compiled.items()},
            rounds=31,
        )
        cells = []
        for name, seconds in times.items():
            base = times["pool, back" if name.endswith("back") else "pool"]
            ratio = "" if name.startswith("pool") else f" ({seconds / base:.2f})"
            cells.append(f"{1e3 * seconds:.2f}{ratio}")
        print(f"| {'x'.join(map(str, shape))} | {' | '.join(cells)} |")
    print()


def pool(x: jax.Array) -> jax.Array:
    """Keras's max pool of 3x3 pixels, stride 1."""
    return keras.ops.max_pool(x, 3, strides=1, padding="same")


def trained(function: object) -> object:
    """The function's value and its gradients."""

    def value_and_gradients(y_prev: jax.Array, y: jax.Array) -> tuple:
        value, pull = jax.vjp(function, y_prev, y)
        return value, pull(jax.numpy.ones_like(value))

    return value_and_gradients


if __name__ == "__main__":
    main()
