"""Animations of attention during training."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect.calls import trace_calls
from keras_attention.inspect.plot import plot_attention
from keras_attention.inspect.regions import has_windows
from keras_attention.utils.io import write_atomically
from keras_attention.utils.validation import one_of, positive_integer, positive_number

if TYPE_CHECKING:
    from PIL.Image import Image

# File formats in which Pillow writes several frames.
FORMATS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
COLORS_PER_FRAME = 128


class AttentionAnimation(keras.callbacks.Callback):
    """Callback that writes an animation of `plot_attention` figures during training.

    The first frame shows the model before training; then a frame follows every `frequency` epochs.
    The file is written when training ends. Training itself gives the same weights as without the
    callback. A frame takes about as long as a call of `plot_attention`.

    Args:
        images: Images `(B, H, W, channels)` in `[0, 1]`, or sequences `(B, T, features)`, whose
            attention is shown.
        path: Path of the file, with the suffix .gif, .webp or .png.
        frequency: Number of epochs between two frames; 1 by default.
        duration: Duration of a frame in seconds; 0.4 by default. The last frame has five times that
            duration.
        layer: See `plot_attention`.
        dpi: Resolution in dots per inch; 70 by default.

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
    ):
        super().__init__()
        self.images, self.path = np.asarray(images, dtype="float32"), Path(path)
        one_of("path", self.path.suffix.lower(), tuple(FORMATS))
        self.frequency = positive_integer("frequency", frequency)
        self.duration = positive_number("duration", duration)
        self.layer = layer
        self.dpi = positive_integer("dpi", dpi)
        self.frames: list[Image] = []
        self._before: keras.Model | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.frames = []
        self._before = _copy_with_windows(self.model, self.images.shape[1:])
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
        before = None if self._before is None else self._before.get_weights()
        return {"frames": [_to_png(frame) for frame in self.frames], "before": before}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` returned. Called after `on_train_begin`."""
        self.frames = [_from_png(data) for data in state["frames"]]
        if self._before is not None:
            self._before.set_weights(state["before"])

    def _add_frame(self, time: str) -> None:
        title = f"{self.model.name} {time}"
        figure = plot_attention(
            self.model, self.images, layer=self.layer, before=self._before, title=title
        )
        self.frames.append(_to_image(figure, self.dpi))


def _copy_with_windows(model: Any, input_shape: tuple[int, ...]) -> keras.Model | None:
    """Copies a model with attention windows, which every frame shows beside the current ones.

    Without it, `plot_attention` would initialize a new copy for each frame, which would consume
    random numbers and change the training.
    """
    if not getattr(model, "inputs", None):
        return None
    if not any(has_windows(call) for call in trace_calls(model, input_shape)):
        return None
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


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
