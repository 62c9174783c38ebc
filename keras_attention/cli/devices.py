"""On how many devices, and on which backend, a run can be."""

from typing import Any

from keras_attention import backend
from keras_attention.cli.defaults import ALL_DEVICES
from keras_attention.utils.validation import is_integer


def checked_devices(devices: Any, batch_size: int) -> int:
    """How many devices share each batch; makes them of the CPU where there are no others.

    Args:
        devices: What `--devices` asks for, `"all"` for as many as there are.
        batch_size: Images of a step.

    Raises:
        ValueError: For fewer than 1 or more than there are, or a batch that does not divide.

    Example:
    >>> checked_devices(1, batch_size=50)
    1
    """
    if is_integer(devices) and devices == 1:
        return 1
    here = backend.devices_here()
    count = here if devices == ALL_DEVICES else devices
    if not (is_integer(count) and 1 <= count <= here):
        kind = "GPUs or TPUs" if backend.accelerators() else "cores of the CPU"
        raise ValueError(
            f"`--devices` must be from 1 to {here}, the {kind} that {backend.BACKEND} sees, or "
            f"{ALL_DEVICES}. Received: --devices={devices}"
        )
    if batch_size % count:
        raise ValueError(
            "`--batch-size` must divide by the number of `--devices`, which share each batch. "
            f"Received: --batch-size={batch_size}, --devices={count}"
        )
    backend.start_devices(count)
    return int(count)


def check_backend(name: Any) -> None:
    """Refuses a run of another backend, of which Keras has one for each process.

    Raises:
        ValueError: For it.
    """
    if name != backend.BACKEND:
        raise ValueError(
            f"Keras runs on {backend.BACKEND} in this process; a run of another backend needs a "
            f"new one, with --backend or KERAS_BACKEND. Received: backend={name!r}"
        )
