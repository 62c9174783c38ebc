"""Tests the files that `make bench` writes, with benchmarks that take no time."""

import json
import shutil
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TOY = '''"""Latency of {name}.

More details.
"""

import ratios

print("| {name} | {ratio} |")
ratios.record("slow / fast", {ratio}, at_least={bar})
ratios.record("MACs", 7)
'''


@pytest.fixture
def modules(monkeypatch, tmp_path):
    """Returns `run_all` for a folder with two toy benchmarks, and `ratios`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import ratios
    import run_all

    for name in ("ratios", "run_all"):
        assert Path(sys.modules[name].__file__).parent == BENCHMARKS
    shutil.copy(BENCHMARKS / "ratios.py", tmp_path)
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    write_toy(tmp_path, "first", 2.5)
    write_toy(tmp_path, "second", 1.5)
    return run_all, ratios


def write_toy(folder, name, ratio, bar=2.0):
    (folder / f"{name}.py").write_text(TOY.format(name=name, ratio=ratio, bar=bar))


def run(run_all, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["run_all.py", *arguments])
    run_all.main()
    text = (run_all.HERE / "RESULTS.md").read_text()
    return text, json.loads((run_all.HERE / "history.json").read_text())


def rows(text):
    table = text.partition("## Bars")[2].partition("\n## ")[0]
    return [line for line in table.splitlines() if line.startswith(("| first", "| second"))]


def test_results_history_and_bars(modules, monkeypatch):
    run_all, _ = modules
    (run_all.HERE / "results").mkdir()
    (run_all.HERE / "results" / "table.md").write_text("# A table\n\nof results\n")
    text, runs = run(run_all, monkeypatch)
    assert "1 of 2 bars are reached." in text
    assert rows(text) == [
        "| first | slow / fast | 2.50 | ≥ 2 |  |  |",
        "| first | MACs | 7.00 |  |  |  |",
        "| second | slow / fast | 1.50 | ≥ 2 |  | **misses its bar** |",
        "| second | MACs | 7.00 |  |  |  |",
    ]
    assert text.index("## Bars") < text.index("## first") < text.index("## second")
    assert "`python benchmarks/first.py`: Latency of first." in text
    assert "| first | 2.5 |" in text
    assert text.endswith(
        "# Experiments\n\nEach report names the command that wrote it.\n\n"
        "## A table\n\nof results\n"
    )
    (entry,) = runs
    assert set(entry["seconds"]) == {"first", "second"}
    assert entry["versions"]["keras"]
    assert entry["ratios"]["first"][0] == {
        "name": "slow / fast",
        "ratio": 2.5,
        "at_least": 2.0,
        "at_most": None,
    }


def test_a_single_benchmark_keeps_the_output_of_the_others(modules, monkeypatch):
    run_all, _ = modules
    before, _ = run(run_all, monkeypatch)
    write_toy(run_all.HERE, "second", 3.5)
    text, runs = run(run_all, monkeypatch, "--only", "second")
    assert len(runs) == 2
    assert rows(text)[2] == "| second | slow / fast | 3.50 | ≥ 2 | 1.50 |  |"
    assert rows(text)[:2] == rows(before)[:2], "the table has the newest run of each benchmark"
    assert "| first | 2.5 |" in text
    assert "2 of 2 bars are reached." in text
    assert text.partition("## Bars")[0] == before.partition("## Bars")[0]


def test_excluded_benchmarks_run_on_request_only(modules, monkeypatch):
    run_all, _ = modules
    monkeypatch.setattr(run_all, "EXCLUDED", {"second"})
    text, _ = run(run_all, monkeypatch)
    assert "## second" not in text
    run(run_all, monkeypatch, "--only", "second")
    text, _ = run(run_all, monkeypatch)
    assert "## second" in text, "its stored output is kept"


def test_removed_benchmarks_are_dropped_from_the_results(modules, monkeypatch):
    run_all, _ = modules
    run(run_all, monkeypatch)
    (run_all.HERE / "first.py").unlink()
    text, runs = run(run_all, monkeypatch, "--only-results")
    assert "first" not in text
    assert len(runs) == 1


def test_a_failing_benchmark_changes_no_file(modules, monkeypatch):
    run_all, _ = modules
    before, _ = run(run_all, monkeypatch)
    (run_all.HERE / "second.py").write_text('"""Broken."""\nraise SystemExit(3)\n')
    with pytest.raises(Exception, match="exit status 3"):
        run(run_all, monkeypatch)
    assert (run_all.HERE / "RESULTS.md").read_text() == before
    assert len(json.loads((run_all.HERE / "history.json").read_text())) == 1


@pytest.mark.parametrize(
    ("ratio", "at_least", "at_most", "reached"),
    [(2, 2, None, True), (1.99, 2, None, False), (2, None, 2, True), (2.1, None, 2, False)],
)
def test_a_bar_is_reached_at_equality(modules, ratio, at_least, at_most, reached):
    _, ratios = modules
    assert ratios.Ratio("it", ratio, at_least, at_most).reached == reached


def test_a_benchmark_that_runs_alone_records_nothing(modules, monkeypatch, tmp_path):
    _, ratios = modules
    monkeypatch.delenv(ratios.FILE, raising=False)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    ratios.record("it", 1.0)
    assert sorted(tmp_path.iterdir()) == before
