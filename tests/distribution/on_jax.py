"""Learns on JAX, in a process of its own: devices, or processes, are counted when JAX starts.

python -m tests.distribution.on_jax devices FOLDER san-c DCN
python -m tests.distribution.on_jax host FOLDER san-c PORT PROCESS
python -m tests.distribution.on_jax one FOLDER san-c
python -m tests.distribution.on_jax packages FOLDER

TensorFlow cannot be imported here, as where it is not installed.
"""

import os
import sys
from pathlib import Path

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

    from tests.distribution import training_cases

    devices = keras.distribution.list_devices()
    assert len(devices) == DEVICES
    for name in names:
        found = []
        for used in (devices[:1], devices):
            with keras.distribution.DataParallel(devices=used).scope():
                model = training_cases.built(name)
                found.append((training_cases.fit(name, model), training_cases.state(model)))
        training_cases.assert_equal(found[1], found[0])
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
    # Each process has its own half of the data.
    spread = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(spread)
    from tests.distribution import training_cases

    assert jax.process_count() == len(jax.devices()) == HOSTS
    model = training_cases.built(name)
    history = training_cases.fit(name, model, share=(int(process), HOSTS))
    np.savez(Path(folder) / f"host{process}.npz", **history, **training_cases.state(model))


def packages(folder):
    """Everything works without TensorFlow except data sets and exports."""
    import keras
    import numpy as np
    import pytest

    import keras_attention as ka

    for name in ("layers", "ops", "losses", "training", "applications", "surgery", "inspect"):
        package = getattr(ka, name)
        assert all(hasattr(package, public) for public in package.__all__), name
    plain = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3, padding="same")])
    targeted = ka.surgery.to_targeted(plain)
    assert ka.inspect.count_macs(targeted) == ka.inspect.count_macs(plain)
    small = ka.surgery.compact(targeted)
    images = np.random.default_rng(0).uniform(size=(2, 6, 6, 1)).astype("float32")
    np.testing.assert_allclose(small(images), targeted(images), atol=1e-5)
    ka.inspect.plot_attention(targeted, images[:1], path=Path(folder) / "regions.png")
    path = Path(folder) / "model.keras"
    targeted.save(path)
    np.testing.assert_array_equal(keras.saving.load_model(path)(images), targeted(images))
    with pytest.raises(ImportError, match="needs TensorFlow"):
        ka.datasets.load("digits", "train")
    assert "tensorflow" not in sys.modules


def on_one(folder, name):
    """Trains in one process, for comparison."""
    import numpy as np

    from tests.distribution import training_cases

    model = training_cases.built(name)
    history = training_cases.fit(name, model)
    np.savez(Path(folder) / "one.npz", **history, **training_cases.state(model))


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    sys.meta_path.insert(0, NoTensorFlow())
    what, *rest = sys.argv[1:]
    {"devices": on_devices, "host": on_hosts, "one": on_one, "packages": packages}[what](*rest)
