"""The README's examples do what they say."""

from keras_attention.training.learning_rates import HAS_MULTI_OPTIMIZER
from tests.documents import ROOT, python_blocks, run_block

README = ROOT / "README.md"


def test_example_runs_as_it_stands(tmp_path, monkeypatch, capsys, reloads_here):
    monkeypatch.chdir(tmp_path)
    examples = python_blocks(README)
    assert examples
    for example in examples:
        run_block(example, README, {})
    printed = capsys.readouterr().out
    assert "(32, 2, 2)" in printed
    assert "rectify_masks3" in printed or not HAS_MULTI_OPTIMIZER
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "attention.png",
        "served",
        "student.keras",
    ]
