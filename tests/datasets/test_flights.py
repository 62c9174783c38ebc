"""Folders of flights: a few generated flights in the original format."""

import shutil

import numpy as np
import pytest

from keras_attention import datasets
from keras_attention.datasets.sequences import read_table
from tests.datasets.sequence_files import make_flights

LENGTHS = (30, 25, 40, 20, 35)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_flights(tmp_path_factory.mktemp("flights"), LENGTHS)


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy")


def arrays(dataset):
    windows, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(windows), np.stack(labels)


def load(split, folder, **arguments):
    return datasets.load("flights", split, data_dir=folder, **{"size": 8} | arguments)


def raw(folder):
    return [read_table(path).values for path in sorted(folder.rglob("*.csv"))]


def test_windows_and_labels(made):
    dataset = load("train", made, shuffle=False)
    spec, label = dataset.element_spec
    assert (spec.shape, label.shape) == ((8, 4), (1,))
    windows, labels = arrays(dataset)
    assert (windows.dtype, labels.dtype) == (np.float32, np.float32)
    assert np.all(windows[..., 3] == 0), "a constant column"
    assert datasets.find("flights").example_shape == (60, None)


@pytest.mark.parametrize("horizon", [1, 3])
def test_labels_follow_their_window_in_the_same_flight(made, horizon):
    scaling = datasets.flight_scaling(made)
    flights = [scaling.apply(values) for values in raw(made)]
    seen = 0
    for split in ("train", "test"):
        windows, labels = arrays(load(split, made, shuffle=False, horizon=horizon))
        for window, label in zip(windows, labels, strict=True):
            matches = [
                (number, start)
                for number, flight in enumerate(flights)
                for start in range(len(flight) - 8 - horizon + 1)
                if np.array_equal(flight[start : start + 8], window)
                and np.array_equal(flight[start + 8 : start + 8 + horizon, 1], label)
            ]
            assert len(matches) == 1
        seen += len(labels)
    assert seen == sum(length - 8 - horizon + 1 for length in LENGTHS)


def test_parts_share_no_flight_and_the_training_part_is_scaled(made):
    counts = {split: int(load(split, made).cardinality()) for split in ("train", "test")}
    assert counts["test"] in {length - 8 for length in LENGTHS}
    held_out = [length - 8 for length in LENGTHS].index(counts["test"])
    rows = np.concatenate([values for i, values in enumerate(raw(made)) if i != held_out])
    scaling = datasets.flight_scaling(made)
    np.testing.assert_allclose(scaling.mean, rows.mean(axis=0))
    np.testing.assert_allclose(scaling.deviation[:3], rows.std(axis=0)[:3])
    assert scaling.mean_and_deviation("CAS") == (7, 1)
    assert scaling.columns == ("ALT", "FF_1", "FF_2", "CAS")


def test_columns_and_target(made):
    whole, _ = arrays(load("test", made))
    windows, labels = arrays(load("test", made, columns=["CAS", "ALT"], target="FF_2"))
    np.testing.assert_array_equal(windows, whole[..., [3, 0]])
    # The second engine takes 10 more: scaled, the same.
    np.testing.assert_allclose(labels, arrays(load("test", made))[1], atol=1e-5)
    assert arrays(load("test", made, columns="ALT"))[0].shape[-1] == 1


def test_other_columns_may_hold_anything_where_some_are_named(folder):
    for path in folder.rglob("*.csv"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join(["TIME," + lines[0], *("10:30," + line for line in lines[1:])]))
    with pytest.raises(ValueError, match=r"Expected finite numbers in line 2 .*Received: 10:30"):
        load("train", folder)
    assert arrays(load("test", folder, columns=["ALT"]))[0].shape[1:] == (8, 1)


def test_train_size_draws_windows_and_the_test_part_stays(made):
    labels = [arrays(load("train", made, train_size=5, shuffle=False))[1] for _ in range(2)]
    assert len(labels[0]) == 5
    np.testing.assert_array_equal(*labels)
    whole, few = (arrays(load("test", made, train_size=size))[0] for size in (None, 5))
    np.testing.assert_array_equal(whole, few)


def test_skipping_passes_gives_what_would_have_come(made):
    whole, rest = (load("train", made, batch_size=40, seed=1).repeat() for _ in range(2))
    whole = list(whole.take(9).as_numpy_iterator())[6:]
    for (window, label), (want, want_label) in zip(rest.skip(6).take(3), whole, strict=True):
        np.testing.assert_array_equal(window, want)
        np.testing.assert_array_equal(label, want_label)


def test_the_environment_variable_leads_to_the_folder(made, monkeypatch):
    monkeypatch.setenv("FLIGHTS_DIR", str(made))
    assert int(datasets.load("flights", "test", size=8, test_share=0.4).cardinality()) > 32
    assert datasets.flight_scaling().columns[0] == "ALT"


def test_short_flights_are_left_out_with_a_warning(made):
    with pytest.warns(UserWarning, match=r"1 of 4 flights have fewer than 22 lines"):
        load("train", made, size=21)
    with pytest.raises(ValueError, match=r"= 100 lines .*Received: at most 35 lines"):
        load("train", made, size=99)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "FF"}, "must be one of ALT, FF_1, FF_2, CAS. Received: target='FF'"),
        ({"target": "FF", "columns": ["ALT"]}, "Received: no column FF"),
        ({"columns": ["ALT", "ALT"]}, "unique column names. Received: columns="),
        ({"columns": []}, r"Received: columns=\[\]"),
        ({"horizon": 0}, "Received: horizon=0"),
        ({"test_share": -1}, "Received: test_share=-1"),
        ({"train_size": 1000}, "from 1 to .*Received: train_size=1000"),
        ({"window": 3}, "are: target, columns, horizon, test_share. Received: window=3"),
    ],
)
def test_bad_options(made, arguments, message):
    with pytest.raises(ValueError, match=message):
        load("train", made, **arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "431.csv'. Received: an empty file"),
        ("ALT,FF_1,FF_2,CAS\n", "Received: a header only"),
        ("ALT,FF_1,FF_2,CAS\n1,2,3\n", "Expected 4 cells in line 2 of '.*431.csv'"),
        ("ALT,FF_1,FF_2,CAS\n1,2,3,nan\n", "finite numbers in line 2 of '.*431.csv'"),
        (
            "ALT,FF_1,FF_2\n1,2,3\n",
            "'.*430.csv'.*Received in '.*431.csv': ALT, FF_1, FF_2",
        ),
    ],
)
def test_broken_files(folder, text, message):
    (folder / "687" / "687200403251431.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load("train", folder)


def test_files_outside_the_folder(folder, tmp_path):
    (tmp_path / "other.csv").write_text("ALT,FF_1,FF_2,CAS\n1,2,3,4\n")
    (folder / "687" / "link.csv").symlink_to(tmp_path / "other.csv")
    with pytest.raises(ValueError, match=r"Expected files inside '.*copy'"):
        load("train", folder)


def test_errors_for_wrong_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("FLIGHTS_DIR", raising=False)
    with pytest.raises(ValueError, match=r"FLIGHTS_DIR.*a CSV file for each flight.*=None"):
        datasets.load("flights", "train")
    with pytest.raises(ValueError, match=r"at least two flights.*an empty folder"):
        load("train", tmp_path)
