"""Tables of numbers in CSV files."""

import pytest

from keras_attention.datasets.sequences import read_table


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n3,4\n", "\ufeffa, b\r\n1,2\r\n\r\n3, 4", "\na,b\n1,2\n3,4"]
)
def test_header(file, text):
    table = read_table(file(text))
    assert table.columns == ("a", "b")
    assert table.values.tolist() == [[1, 2], [3, 4]]


def test_without_header_columns_are_numbered(file):
    table = read_table(file("1,2\n3,4\n"))
    assert table.columns == ("1", "2")
    assert table.values.tolist() == [[1, 2], [3, 4]]


def test_other_columns_may_hold_anything(file):
    table = read_table(file("time,a,b\n10:30,1,2\n10:31,3,nan\n"), ["a"])
    assert table.values.tolist() == [[1], [3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Received: an empty file"),
        ("\n \n", "Received: an empty file"),
        ("a,b\n", "Received: a header only"),
        ("a,b\n1,2\n3\n", "Expected 2 cells in line 3 of '.*table.csv'. Received: 1 cells"),
        ("a,b\n1,2,3\n", "Received: 3 cells"),
        ("a,b\n1,2\n\n3,x\n", "finite numbers in line 4 of '.*'. Received: 3, x"),
        ("1,2\n3,x\n", "line 2"),
        ("1,x\n3,4\n", "line 1"),
        ("a\nnan\n", "line 2 of '.*'. Received: nan"),
        ("a\ninf\n", "Received: inf"),
        ("a\n1_0\n", "Received: 1_0"),
        ("a,b\n1,\n", "finite numbers in line 2"),
        ("a,a\n1,2\n", "a name for every column"),
        (b"\xff\xfe\x00", "Expected text in"),
    ],
)
def test_broken_files(file, text, message):
    with pytest.raises(ValueError, match=message):
        read_table(file(text))


def test_missing_column(file):
    with pytest.raises(ValueError, match=r"which has a, b. Received: no column c"):
        read_table(file("a,b\n1,2\n"), ["a", "c"])
