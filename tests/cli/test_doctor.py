"""The doctor command: conflicting packages, drivers and available data sets."""

import json

from keras_attention import __version__, backend, datasets
from keras_attention.cli import main
from keras_attention.cli.commands import doctor


def doctor_result(capsys, code=0):
    assert main(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_installation_without_problems(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "conflicting_packages", list)
    found = doctor_result(capsys)
    assert found["keras_attention"] == __version__
    assert found["backend"] == backend.BACKEND
    assert found["backend"] in found["backends"]
    assert {"keras", "tensorflow"} <= set(found["versions"])
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "accelerators" in printed
    assert "bundled" in printed


def test_conflicting_package(capsys, monkeypatch, tmp_path):
    """With the metadata that pip writes for two packages of the same import name."""
    for name in ("keras-attention", "keras-cnn-attention"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "top_level.txt").write_text("keras_attention\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = doctor_result(capsys, code=1)
    assert found["conflicting_packages"] == ["keras-attention"]
    assert "pip uninstall keras-attention" in found["advice"][0]


def test_driver_without_a_detected_gpu(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "[gpu]" in doctor._driver_advice([])[0]
    assert doctor._driver_advice(["NVIDIA H100"]) == []


def test_available_data_sets(capsys, monkeypatch, tmp_path):
    """Prepared data sets, of which the latest version counts, and folders in the environment."""
    for version in ("3.0.0", "3.0.1"):
        prepared = tmp_path / "mnist" / version
        prepared.mkdir(parents=True)
        (prepared / "dataset_info.json").write_text("{}")
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ADIENCE_DIR", str(tmp_path))
    monkeypatch.setenv("GTSDB_DIR", str(tmp_path / "nothing"))
    rows = doctor_result(capsys)["datasets"]
    locations = {row["name"]: row["location"] for row in rows}
    assert locations["digits"] == "bundled"
    assert locations["mnist"] == locations["top_left_mnist"] == str(tmp_path / "mnist" / "3.0.1")
    assert locations["adience_age"] == str(tmp_path)
    assert locations["cifar10"] is locations["gtsdb"] is None


def test_every_data_set_is_bundled_or_has_instructions(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name, info in datasets.list_datasets().items():
        if info.folder:
            monkeypatch.delenv(f"{info.folder.upper()}_DIR", raising=False)
        needs = info.needs_network or info.needs_files
        assert (datasets.find_local(info) is None) == needs, name
        assert bool(datasets.how_to_obtain(info)) == needs, name
