"""Callbacks that draw attention during training: an animation, or a file for each epoch."""

import contextlib
import importlib.util
import io
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect.activation_maps import is_distiller
from keras_attention.inspect.calls import trace_calls
from keras_attention.inspect.examples import make_inputs
from keras_attention.inspect.plot import DPI, plot_attention
from keras_attention.inspect.regions import has_windows
from keras_attention.utils.io import write_atomically
from keras_attention.utils.validation import one_of, positive_integer, positive_number

if TYPE_CHECKING:
    from PIL.Image import Image

# File formats in which Pillow writes several frames.
FORMATS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
COLORS_PER_FRAME = 128


class _AttentionCallback(keras.callbacks.Callback):
    """Base class of callbacks that call `plot_attention` without effects on the training.

    Args:
        images: See `plot_attention`.
        frequency: Number of epochs between two figures.
        dpi: Resolution in dots per inch.
        options: Further arguments of `plot_attention`.
    """

    def __init__(self, images: Any, frequency: int, dpi: int, options: dict[str, Any]):
        super().__init__()
        self.images = images
        self.frequency = positive_integer("frequency", frequency)
        self.dpi = positive_integer("dpi", dpi)
        self.options = options
        self._before: keras.Model | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        with _unchanged_state(self.model):
            self._before = _copy_with_windows(self.model, self.images)

    def get_state(self) -> dict[str, Any]:
        """Returns the weights before training, for `training.resumable_fit`."""
        return {"before": None if self._before is None else self._before.get_weights()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` returned. Called after `on_train_begin`."""
        if self._before is not None:
            self._before.set_weights(state["before"])

    def _plot(self, time: str, path: Path | None = None) -> Any:
        title = f"{self.model.name} {time}"
        options = {**self.options, "before": self._before, "title": title, "dpi": self.dpi}
        with _unchanged_state(self.model):
            return plot_attention(self.model, self.images, path, **options)


class AttentionLogger(_AttentionCallback):
    """Callback that writes a `plot_attention` figure as a PNG file after each epoch.

    The files are `epoch-001.png` and so on in a folder, which is created. Each file is complete or
    missing, also after a kill. If TensorBoard is installed, the figures are also written there for
    `tensorboard --logdir directory`, as the image `"attention"`. Training itself gives the same
    weights as without the callback. It works with an `AttentionDistiller`, too, whose student and
    teacher are shown.

    Args:
        images: Images `(B, H, W, channels)` in the model's value range, or sequences
            `(B, T, features)`, or a list, tuple or dictionary for several inputs.
        directory: Folder of the files.
        frequency: Number of epochs between two files; 1 by default.
        layer: See `plot_attention`.
        image_range: See `plot_attention`.
        class_names: See `plot_attention`.
        labels: See `plot_attention`.
        grad_cam: See `plot_attention`.
        dpi: Resolution in dots per inch; 120 by default.

    Raises:
        ValueError: If a number is not positive, or, in training, if `plot_attention` cannot draw
            the model.

    Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, keras_attention as ka
    >>> model = ka.applications.LeNet5((16, 16, 1), classes=2, attention="cbam")
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.zeros((2, 16, 16, 1)), np.zeros(2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     logger = ka.training.AttentionLogger(x, folder)
    ...     history = model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])
    ...     sorted(path.name for path in Path(folder).glob("*.png"))
    ['epoch-001.png', 'epoch-002.png']
    """

    def __init__(
        self,
        images: Any,
        directory: str | Path,
        frequency: int = 1,
        layer: Any = None,
        *,
        image_range: Any = None,
        class_names: Any = None,
        labels: Any = None,
        grad_cam: Any = False,
        dpi: int = DPI,
    ):
        options = {"layer": layer, "image_range": image_range, "class_names": class_names}
        options |= {"labels": labels, "grad_cam": grad_cam}
        super().__init__(images, frequency, dpi, options)
        self.directory = Path(directory)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.frequency == 0:
            path = self.directory / f"epoch-{epoch + 1:03d}.png"
            self._plot(f"after epoch {epoch + 1}", path)
            if importlib.util.find_spec("tensorboard") is not None:
                _write_to_tensorboard(self.directory, path, epoch + 1)


def _write_to_tensorboard(directory: Path, figure: Path, step: int) -> None:
    """Writes a PNG file as an image of TensorBoard; each figure has an event file of its own."""
    from PIL import Image
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    with Image.open(figure) as opened:
        width, height = opened.size
    image = Summary.Image(
        height=height, width=width, colorspace=4, encoded_image_string=figure.read_bytes()
    )
    writer = EventFileWriter(str(directory), filename_suffix=f".{step}")
    summary = Summary(value=[Summary.Value(tag="attention", image=image)])
    writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.close()


class AttentionAnimation(_AttentionCallback):
    """Callback that writes an animation of `plot_attention` figures during training.

    The first frame shows the model before training; then a frame follows every `frequency` epochs.
    The file is written when training ends. Training itself gives the same weights as without the
    callback. A frame takes about as long as a call of `plot_attention`.

    Args:
        images: Images `(B, H, W, channels)` in the model's value range, or sequences
            `(B, T, features)`, or a list, tuple or dictionary for several inputs.
        path: Path of the file, with the suffix .gif, .webp or .png.
        frequency: Number of epochs between two frames; 1 by default.
        duration: Duration of a frame in seconds; 0.4 by default. The last frame has five times that
            duration.
        layer: See `plot_attention`.
        dpi: Resolution in dots per inch; 70 by default.
        image_range: See `plot_attention`.
        class_names: See `plot_attention`.
        labels: See `plot_attention`.

    Raises:
        ValueError: If the file format is unknown, a number is not positive, or, in training, if
            `plot_attention` cannot draw the model.

    Example:
    >>> import tempfile
    >>> import keras_attention as ka
    >>> layers = [keras.Input((8, 8, 1)), ka.layers.TargetLayer(4, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(2)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.zeros((2, 8, 8, 1)), np.zeros((2, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "regions.gif"
    ...     animation = AttentionAnimation(x, path)
    ...     history = model.fit(x, y, epochs=2, verbose=0, callbacks=[animation])
    ...     path.is_file(), len(animation.frames)
    (True, 3)

    Reference:
        Chitta, Targeted Kernel Networks (2018), figure 4, which is a single frame.
    """

    def __init__(
        self,
        images: Any,
        path: str | Path,
        frequency: int = 1,
        duration: float = 0.4,
        layer: Any = None,
        dpi: int = 70,
        *,
        image_range: Any = None,
        class_names: Any = None,
        labels: Any = None,
    ):
        options = {"layer": layer, "image_range": image_range}
        options |= {"class_names": class_names, "labels": labels}
        super().__init__(images, frequency, dpi, options)
        self.path = Path(path)
        one_of("path", self.path.suffix.lower(), tuple(FORMATS))
        self.duration = positive_number("duration", duration)
        self.frames: list[Image] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self.frames = []
        self._add_frame("before training")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.frequency == 0:
            self._add_frame(f"after epoch {epoch + 1}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        milliseconds = [round(1000 * self.duration)] * len(self.frames)
        milliseconds[-1] *= 5
        first, *others = self.frames
        options = {"append_images": others, "duration": milliseconds, "loop": 0, "save_all": True}
        kind = FORMATS[self.path.suffix.lower()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, lambda temporary: first.save(temporary, kind, **options))

    def get_state(self) -> dict[str, Any]:
        """Returns the frames and the weights before training, for `training.resumable_fit`."""
        return {**super().get_state(), "frames": [_to_png(frame) for frame in self.frames]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` returned. Called after `on_train_begin`."""
        super().set_state(state)
        self.frames = [_from_png(data) for data in state["frames"]]

    def _add_frame(self, time: str) -> None:
        self.frames.append(_to_image(self._plot(time), self.dpi))


def _copy_with_windows(model: Any, images: Any) -> keras.Model | None:
    """Copies a model with attention windows, which every figure shows beside the current ones.

    Without it, `plot_attention` would initialize a new copy for each figure.
    """
    if not getattr(model, "inputs", None):
        return None
    calls = trace_calls(model, inputs=make_inputs(model, images))
    if not any(has_windows(call) for call in calls):
        return None
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


@contextlib.contextmanager
def _unchanged_state(model: Any) -> Iterator[None]:
    """Restores what a call of a model and the creation of layers change.

    These are the random numbers of Python and NumPy, from which Keras draws seeds, and variables
    such as the states of stateful layers and of random number generators.
    """
    network = model.student if is_distiller(model) else model
    variables = list(network.non_trainable_variables)
    values = [keras.ops.convert_to_numpy(variable) for variable in variables]
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for variable, value in zip(variables, values, strict=True):
            if not np.array_equal(keras.ops.convert_to_numpy(variable), value):
                variable.assign(value)


def _to_image(figure: Any, dpi: int) -> "Image":
    """Renders a figure with few colors, because frames stay in memory until training ends."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return Image.fromarray(pixels).quantize(COLORS_PER_FRAME)


def _to_png(frame: "Image") -> np.ndarray:
    file = io.BytesIO()
    frame.save(file, "PNG")
    return np.frombuffer(file.getvalue(), dtype="uint8")


def _from_png(data: np.ndarray) -> "Image":
    from PIL import Image

    frame = Image.open(io.BytesIO(data.tobytes()))
    frame.load()
    return frame
