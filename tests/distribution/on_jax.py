"""Learns on JAX, in a process of its own: devices, or processes, are counted when JAX starts.

python -m tests.distribution.on_jax devices FOLDER san-c DCN
python -m tests.distribution.on_jax host FOLDER san-c PORT PROCESS

TensorFlow cannot be imported here, as where it is not installed.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
DEVICES = HOSTS = 2


class NoTensorFlow:
    """Finds no module of TensorFlow."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name="tensorflow")


def on_devices(folder, *names):
    """Compares what two devices learn with what one does, and the devices with each other."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"
    import keras

    from tests.distribution import learners

    devices = keras.distribution.list_devices()
    assert len(devices) == DEVICES
    for name in names:
        found = []
        for used in (devices[:1], devices):
            with keras.distribution.DataParallel(devices=used).scope():
                model = learners.built(name)
                found.append((learners.learn(name, model), learners.state(model)))
        learners.assert_equal(found[1], found[0])
        assert_copies_agree(model)
        (Path(folder) / name).touch()


def assert_copies_agree(model):
    import numpy as np

    for variable in [*model.variables, *model.optimizer.variables]:
        copies = [np.asarray(shard.data) for shard in variable.value.addressable_shards]
        assert len(copies) == DEVICES, f"{variable.path} is on {len(copies)} devices"
        assert all(np.array_equal(copy, copies[0]) for copy in copies), variable.path


def on_hosts(folder, name, port, process):
    """One of two processes, which feeds its half of every batch; writes what both have learned."""
    import jax
    import keras
    import numpy as np

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    keras.distribution.initialize(f"127.0.0.1:{port}", HOSTS, int(process))
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    from tests.distribution import learners

    assert jax.process_count() == len(jax.devices()) == HOSTS
    model = learners.built(name)
    history = learners.learn(name, model, share=(int(process), HOSTS))
    np.savez(Path(folder) / f"host{process}.npz", **history, **learners.state(model))


def on_one(folder, name):
    """What the processes are to learn together."""
    import numpy as np

    from tests.distribution import learners

    model = learners.built(name)
    history = learners.learn(name, model)
    np.savez(Path(folder) / "one.npz", **history, **learners.state(model))


if __name__ == "__main__":
    sys.meta_path.insert(0, NoTensorFlow())
    what, *rest = sys.argv[1:]
    {"devices": on_devices, "host": on_hosts, "one": on_one}[what](*rest)
