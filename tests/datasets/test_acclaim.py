"""Skeletons and motions in the files of the CMU database."""

import numpy as np
import pytest

from keras_attention.datasets.mocap import read_motion, read_skeleton
from tests.datasets.made_sequences import amc, asf, motion

FRAMES = motion(0, 1)[:3]


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
    with pytest.raises(ValueError, match=r"then frames in .*Received: .*0 lines behind it"):
        read_motion(path, skeleton)
