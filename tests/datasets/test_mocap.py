"""Folders of recorded motion: a few generated recordings in the original formats."""

import shutil

import numpy as np
import pytest

from keras_attention import datasets
from keras_attention.datasets.mocap import read_motion, read_skeleton
from tests.datasets.sequence_files import (
    CLASSES,
    OF_CLASS,
    amc,
    asf,
    make_mocap,
    make_sensors,
    motion,
)

TEST_OF_CLASS = 1
THREE = {"classes": len(CLASSES)}
FRAMES = motion(0, 1)[:3]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_mocap(tmp_path_factory.mktemp("mocap"))


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy")


def arrays(dataset):
    sequences, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(sequences), np.array(labels)


def load(split, folder, **arguments):
    return datasets.load("mocap", split, data_dir=folder, **THREE | arguments)


def test_sequences_and_labels(made):
    dataset = load("train", made, shuffle=False)
    assert dataset.element_spec[0].shape == datasets.find("mocap").example_shape == (128, 62)
    sequences, labels = arrays(dataset)
    assert (sequences.dtype, labels.dtype) == (np.float32, np.int64)
    assert np.bincount(labels).tolist() == [OF_CLASS - TEST_OF_CLASS] * 3
    assert np.bincount(arrays(load("test", made))[1]).tolist() == [TEST_OF_CLASS] * 3
    assert datasets.mocap_classes(made) == list(CLASSES)


def all_raw():
    return [motion(number, label) for label in range(3) for number in range(OF_CLASS)]


def test_sensors_are_scaled_over_the_training_frames_and_recordings_resampled(made):
    """Compares with values computed by hand from the generated motions."""
    train, labels = arrays(load("train", made, shuffle=False))
    test, _ = arrays(load("test", made))
    chosen = {}
    for held_out in np.ndindex(OF_CLASS, OF_CLASS, OF_CLASS):
        of_test = [5 * label + number for label, number in enumerate(held_out)]
        rows = np.concatenate([raw for i, raw in enumerate(all_raw()) if i not in of_test])
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        first = (all_raw()[of_test[0]][0] - mean)[:-1] / deviation[:-1]
        if np.allclose(first, test[0, 0, :-1], atol=1e-4):
            chosen[held_out] = mean, deviation
    ((held_out, (mean, deviation)),) = chosen.items()
    assert np.all(train[..., -1] == 0), "a constant sensor"
    raw = all_raw()[10 + held_out[2]]
    wanted = (raw[-1, :-1] - mean[:-1]) / deviation[:-1]
    np.testing.assert_allclose(test[2, -1, :-1], wanted, atol=1e-4)
    middle = np.interp(64 * (len(raw) - 1) / 127, np.arange(len(raw)), raw[:, 5])
    assert test[2, 64, 5] == pytest.approx((middle - mean[5]) / deviation[5], abs=1e-4)
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_pad_keeps_frames_and_adds_zeros(made):
    pad_boxes, _ = arrays(load("train", made, shuffle=False, fit="pad", size=21))
    resampled, _ = arrays(load("train", made, shuffle=False, size=24))
    zeros = np.all(pad_boxes == 0, axis=2)
    # Motions have 20 frames and more.
    assert sorted(set(zeros.sum(axis=1))) == [0, 1]
    assert not zeros[:, :20].any()
    np.testing.assert_allclose(pad_boxes[:, 0], resampled[:, 0], atol=1e-6)


@pytest.mark.parametrize("header", [True, False])
def test_csv_files_give_what_motions_give(made, tmp_path, header):
    tables = make_sensors(tmp_path, header)
    for array, want in zip(arrays(load("test", tables)), arrays(load("test", made)), strict=True):
        np.testing.assert_allclose(array, want, atol=1e-5)


def test_an_index_names_classes_and_parts(folder):
    rows = ["file,class,split"]
    for number, path in enumerate(sorted(folder.glob("*/*.amc"))):
        part = "test" if number % 2 else "train"
        rows.append(f"{path.relative_to(folder)},{'slow' if number < 7 else 'fast'},{part}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    _, labels = arrays(load("test", folder, classes=2))
    assert labels.tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert datasets.mocap_classes(folder) == ["fast", "slow"]
    (folder / "labels.csv").write_text("\n".join(row.rpartition(",")[0] for row in rows) + "\n")
    assert len(arrays(load("test", folder, classes=2))[1]) == round(8 / 5) + round(7 / 5)


def test_test_share_and_train_size(made):
    assert np.bincount(arrays(load("test", made, test_share=0.4))[1]).tolist() == [2, 2, 2]
    parts = [arrays(load("train", made, train_size=6, seed=seed)) for seed in (0, 1)]
    assert np.bincount(parts[0][1]).tolist() == [2, 2, 2]
    sums = [np.sort(sequences.sum(axis=(1, 2))) for sequences, _ in parts]
    np.testing.assert_array_equal(*sums)
    whole, few = (arrays(load("test", made, train_size=size))[0] for size in (None, 6))
    np.testing.assert_array_equal(whole, few)


def test_each_subject_has_a_skeleton_of_its_own(folder):
    text = (folder / "07.asf").read_text()
    (folder / "08.asf").write_text(text)
    (folder / "walk" / "other.asf").write_text(text)
    next(folder.glob("jump/*.amc")).rename(folder / "jump" / "08_01.amc")
    assert len(arrays(load("train", folder))[1]) == 12
    next(folder.glob("dance/*.amc")).rename(folder / "dance" / "09_01.amc")
    with pytest.raises(ValueError, match=r"Expected 09.asf, or a single .asf file, next to"):
        load("train", folder)


def test_the_environment_variable_leads_to_the_folder(made, monkeypatch):
    monkeypatch.setenv("MOCAP_DIR", str(made))
    assert int(datasets.load("mocap", "test", **THREE).cardinality()) == 3
    assert datasets.mocap_classes() == list(CLASSES)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("path,class\na.csv,b", r"columns file,class or .*Received: path,class"),
        ("file,class\n../a.amc,b", r"Expected files inside '.*copy'. Received: '.*/\.\./a.amc'"),
        ("file,class\n/etc/a.csv,b", "Expected files inside"),
        ("file,class\nlink.csv,b", "Expected files inside"),
        ("file,class\nwalk/99.amc,b", "existing file in line 2 of '.*labels.csv'"),
        ("file,class\n07.asf,b", r"a file \(.amc or .csv\), .* line 2 .*Received: 07.asf,b"),
        ("file,class\nwalk/07_20.amc,", "line 2"),
        ("file,class\nwalk/07_20.amc", "line 2"),
        ("file,class,split\nwalk/07_20.amc,b,valid", "train or test in line 2"),
        ("file,class,split\nwalk/07_20.amc,b,test", "both train and test.*split='test'"),
        ("file,class\nwalk/07_20.amc,b\nwalk/07_20.amc,c", "unique files"),
        ("file,class", "Received: data_dir='.*', a folder with 07.asf, dance"),
        ("", "Received: an empty file"),
    ],
)
def test_broken_indices(folder, tmp_path, rows, message):
    (tmp_path / "a.csv").write_text("1,2\n")
    (folder / "link.csv").symlink_to(tmp_path / "a.csv")
    (folder / "labels.csv").write_text(rows)
    with pytest.raises(ValueError, match=message):
        load("train", folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"classes": 8},
            "be 3, the classes of the folder: dance, jump, walk. Received: classes=8",
        ),
        ({"sensors": 61}, r"Expected 61 sensors .*Received: 62 sensors, root.tx"),
        ({"fit": "cut"}, "'resample', 'pad'. Received: fit='cut'"),
        ({"test_share": 1}, "Received: test_share=1"),
        ({"train_size": 2}, "Received: train_size=2"),
        ({"size": 0}, "Received: size=0"),
    ],
)
def test_bad_options(made, arguments, message):
    with pytest.raises(ValueError, match=message):
        load("train", made, **arguments)


def test_sensors_must_be_the_same_everywhere(folder):
    (folder / "walk" / "table.csv").write_text(",".join("1" * 62) + "\n")
    with pytest.raises(ValueError, match=r"table.csv', named like those of '.*amc'"):
        load("train", folder)


def test_one_recording_of_a_class_is_not_enough(folder):
    for path in list(folder.glob("jump/*.amc"))[1:]:
        path.unlink()
    with pytest.raises(ValueError, match=r"Expected at least two recordings.*Received: class jump"):
        load("train", folder)


def test_errors_for_wrong_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("MOCAP_DIR", raising=False)
    with pytest.raises(ValueError, match=r"MOCAP_DIR.*CLASS/NAME.amc.*Received: data_dir=None"):
        datasets.load("mocap", "train")
    with pytest.raises(ValueError, match=r"Received: data_dir='.*none', not a folder"):
        load("train", tmp_path / "none")
    with pytest.raises(ValueError, match="an empty folder"):
        load("train", tmp_path)


@pytest.fixture
def skeleton(tmp_path):
    path = tmp_path / "07.asf"
    path.write_text(asf())
    return read_skeleton(path)


def test_a_skeleton_of_cmu_has_62_degrees_of_freedom(skeleton):
    assert len(skeleton.sensors) == 62
    assert skeleton.sensors[:7] == (
        *(f"root.{x}" for x in ["tx", "ty", "tz", "rx", "ry", "rz"]),
        "lfemur.rx",
    )
    assert skeleton.bones["lfoot"] == ("rx", "rz")
    assert "lhipjoint" not in skeleton.bones


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_columns_are_in_the_order_of_the_skeleton(skeleton, tmp_path, ending):
    path = tmp_path / "07_01.amc"
    path.write_bytes(amc(FRAMES).replace("\n", ending).encode())
    np.testing.assert_allclose(read_motion(path, skeleton), FRAMES)


def test_frames_may_start_later(skeleton, tmp_path):
    path = tmp_path / "07_01.amc"
    text = amc(FRAMES)
    for number in (3, 2, 1):
        text = text.replace(f"\n{number}\n", f"\n{number + 100}\n")
    path.write_text(text)
    assert read_motion(path, skeleton).shape == (3, 62)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("   order TX TY TZ RX RY RZ\n", "", "Expected :root with its order in '.*07.asf'"),
        ("TX TY", "TX TX", "line 12 of '.*07.asf'. Received: TX TX TZ RX RY RZ"),
        ("dof rx \n", "dof rw \n", "Expected some of tx ty tz rx ry rz l, each once in line"),
        ("name rfemur", "name lfemur", "a name of its own in line .*Received: lfemur"),
        ("name rfemur", "", "Received: no name"),
        ("  end\n:hierarchy", ":hierarchy", "an end for the bone in line"),
        ("  end\n  begin", "  begin", "bones from begin to end in line 2"),
        (":bonedata", ":skin", "Expected :bonedata with bones"),
    ],
)
def test_broken_skeletons(tmp_path, old, new, message):
    path = tmp_path / "07.asf"
    assert old in asf()
    path.write_text(asf().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_skeleton(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":DEGREES", ":RADIANS", "Received: :FULLY-SPECIFIED :RADIANS"),
        (":FULLY-SPECIFIED\n", "", "Received: :DEGREES, "),
        ("\n1\n", "\n", "Expected the number of a frame in line 4"),
        ("\n2\n", "\n3\n", "Expected frame 2 in line 34 of '.*07_01.amc'. Received: 3"),
        ("\n1\n", "\nwalk\n", "Expected frame 1 in line 4.*Received: walk"),
        ("\nhead ", "\nhat ", "each moving bone of the skeleton once a frame in line 6.*: hat"),
        ("\nhead ", "\nhead 1 2 3\nhead ", "once a frame in line 7.*: head"),
        ("\nhead ", "\nlhipjoint 1\nhead ", "in line 6.*: lhipjoint"),
        ("\nhead ", "\nhead 1 ", "Expected head with rx ry rz in line 6.*: 4 numbers"),
        ("\nhead ", "\nhead nan ", "finite numbers in line 6.*: nan, "),
        ("\nhead ", "\nhead x ", "finite numbers in line 6"),
        ("\nltibia ", "\n#", "a frame with all bones in line 4.*: none of ltibia"),
    ],
)
def test_broken_motions(skeleton, tmp_path, old, new, message):
    text = amc(FRAMES)
    assert old in text
    path = tmp_path / "07_01.amc"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_motion(path, skeleton)


@pytest.mark.parametrize("text", ["", "#!OML\n:FULLY-SPECIFIED\n:DEGREES\n"])
def test_motions_without_frames(skeleton, tmp_path, text):
    path = tmp_path / "07_01.amc"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"then frames in .*Received: .*0 lines after it"):
        read_motion(path, skeleton)
