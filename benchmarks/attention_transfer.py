"""Latency and memory of a distillation step compared with its two components.

A plain step of the student and a forward pass of the teacher are interleaved with the distiller's
step (32x32x3, batch 128, SGD, losses at three groups); times are medians. Memory is the peak
during steps, above what a new process holds after tracing with batches of one to three images. It
is measured for the two components in turn and for the distiller (Linux only). "Keras" is
`keras.distillation.Distiller` with the same loss at one group, the most that it supports; it calls
the student twice.
"""

import ctypes
import gc
import multiprocessing
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import ratios
import tensorflow as tf

import keras_attention as ka
from keras_attention.inspect import interleaved_timing

BATCH, SHAPE = 128, (32, 32, 3)
GROUPS = ["group1", "group2", "group3"]
# (depth, width) of the student and of the teacher.
NETWORKS = (((16, 1), (16, 2)), ((16, 1), (40, 1)))
METHODS = {
    "AT": {"pairs": GROUPS},
    "AT+KD": {"pairs": GROUPS, "alpha": 0.9},
    "F-ActT": {"hints": GROUPS},
    "gradient": {"gradient": "transfer"},
}
Call = Callable[[tf.Tensor, tf.Tensor], object]
ROUNDS, STEPS = 7, 4
BAR = 1.05
TINY = (1, 2, 3)


def main() -> None:
    """Prints the tables of times and memory."""
    print("| student | teacher | step | ms | / (student + teacher) |")
    print("| --- | --- | --- | --- | --- |")
    for sizes in NETWORKS:
        report_times(*sizes)
        keras.utils.clear_session()
    print("\n| student | teacher | step | MB | / (student and teacher) |")
    print("| --- | --- | --- | --- | --- |")
    report_memory(*NETWORKS[0], ["AT", "gradient", "Keras"])
    report_memory(*NETWORKS[1], ["AT"])


def network(depth: int, width: int) -> keras.Model:
    """Builds a wide residual network of the paper."""
    return ka.applications.WideResNet(depth, width, "at", input_shape=SHAPE)


def batch(size: int = BATCH) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a batch of images and labels."""
    return tf.random.uniform((size, *SHAPE), seed=0), tf.zeros(size, tf.int64)


def compiled(model: keras.Model) -> keras.Model:
    """Compiles a model with a learning rate that barely changes the weights."""
    optimizer = keras.optimizers.SGD(1e-6, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    return model


def plain_calls(student: keras.Model, teacher: keras.Model) -> dict[str, Call]:
    """Returns calls for a step of the student and a forward pass of the teacher."""
    forward = tf.function(
        lambda x: teacher(x, training=False), autograph=False, reduce_retracing=True
    )
    return {
        "student": compiled(student).train_on_batch,
        "teacher, forward": lambda images, labels: forward(images).numpy(),
    }


def distillation_call(method: str, student: keras.Model, teacher: keras.Model) -> Call:
    """Returns a call for a step of the distiller."""
    if method == "Keras":
        model = keras.distillation.Distiller(
            teacher,
            student,
            keras.distillation.FeatureDistillation(
                ka.losses.AttentionTransferLoss(), GROUPS[-1], GROUPS[-1]
            ),
        )
    else:
        model = ka.training.AttentionDistiller(student, teacher, **METHODS[method])
    return compiled(model).train_on_batch


def with_batch(calls: Mapping[str, Call]) -> dict[str, Callable[[], object]]:
    """Binds the calls to their arguments."""
    data = batch()
    return {name: lambda call=call: call(*data) for name, call in calls.items()}


def report_times(own: tuple[int, int], other: tuple[int, int]) -> None:
    """Prints the times of one pair of student and teacher."""
    calls = plain_calls(network(*own), network(*other))
    for method in [*METHODS, "Keras"]:
        calls[method] = distillation_call(method, network(*own), network(*other))
    times = interleaved_timing(with_batch(calls), ROUNDS)
    plain = times["student"] + times["teacher, forward"]
    for name, seconds in times.items():
        ratio = "" if name in ("student", "teacher, forward") else f"{seconds / plain:.3f}"
        print(row(own, other, name, 1e3 * seconds, ratio), flush=True)
    record("step", own, other, times["AT"] / plain)


def report_memory(own: tuple[int, int], other: tuple[int, int], methods: list[str]) -> None:
    """Prints the memory of one pair; each row is measured in a new process."""
    context = multiprocessing.get_context("spawn")
    plain = 0.0
    for method in ["student and teacher", *methods]:
        with context.Pool(1) as pool:
            peak = pool.apply(peak_memory, (method, own, other))
        plain = plain or peak
        print(row(own, other, method, peak, f"{peak / plain:.3f}"), flush=True)
        if method == "AT":
            record("memory", own, other, peak / plain)


def record(quantity: str, own: tuple[int, int], other: tuple[int, int], ratio: float) -> None:
    """Records the ratio of AT to student and teacher."""
    pair = "student WRN-{}-{}, teacher WRN-{}-{}".format(*own, *other)
    ratios.record(f"{quantity} of AT / (student + teacher), {pair}", ratio, at_most=BAR)


def peak_memory(method: str, own: tuple[int, int], other: tuple[int, int]) -> float:
    """Returns the peak memory of steps above that of the process before them, in MB."""
    student, teacher = network(*own), network(*other)
    if method == "student and teacher":
        calls = list(plain_calls(student, teacher).values())
    else:
        calls = [distillation_call(method, student, teacher)]
    for size in TINY:
        for call in calls:
            call(*batch(size))
    before = reset_peak_memory()
    images = batch()
    for _ in range(STEPS):
        for call in calls:
            call(*images)
    return memory_status("VmHWM") - before


def reset_peak_memory() -> float:
    """Resets the peak memory of the process and returns its current memory, in MB."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory_status("VmRSS")


def memory_status(key: str) -> float:
    """Returns a value of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def row(own: tuple[int, int], other: tuple[int, int], name: str, value: float, ratio: str) -> str:
    """Formats a row of a table."""
    names = ["WRN-{}-{}".format(*size) for size in (own, other)]
    return f"| {names[0]} | {names[1]} | {name} | {value:.1f} | {ratio} |"


if __name__ == "__main__":
    main()
