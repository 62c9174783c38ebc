"""What the doctor sees, and the name that clashes."""

import json

from keras_attention import __version__, backend, datasets
from keras_attention.cli import installed, main
from keras_attention.cli.commands import doctor


def examine(capsys, code=0):
    assert main(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_sound_place(capsys, monkeypatch):
    monkeypatch.setattr(installed, "clashing_packages", list)
    found = examine(capsys)
    assert found["keras_attention"] == __version__
    assert found["backend"] == backend.BACKEND
    assert found["backend"] in found["backends"]
    assert {"keras", "tensorflow"} <= set(found["versions"])
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "accelerators" in printed
    assert "bundled" in printed


def test_another_package_of_the_same_name(capsys, monkeypatch, tmp_path):
    """As pip would leave it beside ours."""
    for name in ("keras-attention", "keras-cnn-attention"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "top_level.txt").write_text("keras_attention\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = examine(capsys, code=1)
    assert found["clashing_packages"] == ["keras-attention"]
    assert "pip uninstall keras-attention" in found["advice"][0]


def test_a_driver_without_a_gpu(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "[gpu]" in doctor._about_driver([])[0]
    assert doctor._about_driver(["NVIDIA H100"]) == []


def test_data_sets_at_hand(capsys, monkeypatch, tmp_path):
    """Prepared ones and named folders; of several versions the last."""
    for version in ("3.0.0", "3.0.1"):
        prepared = tmp_path / "mnist" / version
        prepared.mkdir(parents=True)
        (prepared / "dataset_info.json").write_text("{}")
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ADIENCE_DIR", str(tmp_path))
    monkeypatch.setenv("GTSDB_DIR", str(tmp_path / "nothing"))
    places = {one["name"]: one["place"] for one in examine(capsys)["data_sets"]}
    assert places["digits"] == "bundled"
    assert places["mnist"] == places["top_left_mnist"] == str(tmp_path / "mnist" / "3.0.1")
    assert places["adience_age"] == str(tmp_path)
    assert places["cifar10"] is places["gtsdb"] is None


def test_every_data_set_is_bundled_or_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name, info in datasets.list_datasets().items():
        if info.folder:
            monkeypatch.delenv(f"{info.folder.upper()}_DIR", raising=False)
        needs = info.needs_network or info.needs_files
        assert (datasets.at_hand(info) is None) == needs, name
        assert bool(datasets.to_get(info)) == needs, name
