"""How attention changes while a network learns, as an animated picture."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import windows
from keras_attention.inspect.calls import trace_calls
from keras_attention.inspect.plot import plot_attention
from keras_attention.utils.io import write_whole
from keras_attention.utils.validation import one_of, positive_integer, positive_number

if TYPE_CHECKING:
    from PIL.Image import Image

# What Pillow writes with several frames.
FORMATS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
COLORS_OF_A_FRAME = 128


class AttentionAnimation(keras.callbacks.Callback):
    """Writes how the picture of `plot_attention` changes in training: regions that move, masks.

    The first frame is the network before, then follows one each `every` epochs; the file is
    written when training ends. What is learned does not change, and a frame takes about as long as
    a call of `plot_attention`.

    Args:
        images: `(B, H, W, channels)` in `[0, 1]`, or sequences `(B, T, features)`: what to show
            attention on.
        path: Where to write, a .gif, .webp or .png file.
        every: Epochs from frame to frame; 1 by default.
        seconds: How long a frame is shown, the last one five times as long; 0.4 by default.
        layer: See `plot_attention`.
        dpi: Pixels of an inch; 70 by default.

    Raises:
        ValueError: For another format, numbers that are not positive, or, in training, a model
            that `plot_attention` cannot draw.

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
        Chitta, Targeted Kernel Networks (2018), figure 4, of which a frame is one moment.
    """

    def __init__(
        self,
        images: Any,
        path: str | Path,
        every: int = 1,
        seconds: float = 0.4,
        layer: Any = None,
        dpi: int = 70,
    ):
        super().__init__()
        self.images, self.path = np.asarray(images, dtype="float32"), Path(path)
        one_of("path", self.path.suffix.lower(), tuple(FORMATS))
        self.every = positive_integer("every", every)
        self.seconds = positive_number("seconds", seconds)
        self.layer = layer
        self.dpi = positive_integer("dpi", dpi)
        self.frames: list[Image] = []
        self._before: keras.Model | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.frames = []
        self._before = _copy_with_windows(self.model, self.images.shape[1:])
        self._add_frame("before training")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every == 0:
            self._add_frame(f"after epoch {epoch + 1}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        times = [round(1000 * self.seconds)] * len(self.frames)
        times[-1] *= 5
        options: dict[str, Any] = {"duration": times, "loop": 0, "save_all": True}
        kind = FORMATS[self.path.suffix.lower()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        first, *others = self.frames
        write_whole(self.path, lambda file: first.save(file, kind, append_images=others, **options))

    def get_state(self) -> dict[str, Any]:
        """The frames so far and the weights before, for `training.resumable_fit`."""
        before = None if self._before is None else self._before.get_weights()
        return {"frames": [_as_png(frame) for frame in self.frames], "before": before}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, after training has begun again."""
        self.frames = [_from_png(data) for data in state["frames"]]
        if self._before is not None:
            self._before.set_weights(state["before"])

    def _add_frame(self, moment: str) -> None:
        title = f"{self.model.name} {moment}"
        figure = plot_attention(
            self.model, self.images, layer=self.layer, before=self._before, title=title
        )
        self.frames.append(_rendered(figure, self.dpi))


def _copy_with_windows(model: Any, input_shape: tuple[int, ...]) -> keras.Model | None:
    """The network as it is, where its windows are to be drawn beside those of later.

    A copy made for each frame would draw random numbers that training counts on.
    """
    if not getattr(model, "inputs", None) or not windows.find(trace_calls(model, input_shape)):
        return None
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _rendered(figure: Any, dpi: int) -> "Image":
    """A figure as pixels, of few colors: frames are kept until training ends."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return Image.fromarray(pixels).quantize(COLORS_OF_A_FRAME)


def _as_png(frame: "Image") -> np.ndarray:
    file = io.BytesIO()
    frame.save(file, "PNG")
    return np.frombuffer(file.getvalue(), dtype="uint8")


def _from_png(data: np.ndarray) -> "Image":
    from PIL import Image

    frame = Image.open(io.BytesIO(data.tobytes()))
    frame.load()
    return frame
