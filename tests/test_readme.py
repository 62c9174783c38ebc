"""The README's examples do what they say."""

import re
from pathlib import Path

from keras_attention.training.learning_rates import HAS_MULTI_OPTIMIZER

README = Path(__file__).parents[1] / "README.md"


def test_example_runs_as_it_stands(tmp_path, monkeypatch, capsys, reloads_here):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        if "LayerwiseOptimizer" in example and not HAS_MULTI_OPTIMIZER:
            continue
        exec(compile(example, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert "(32, 2, 2)" in printed
    assert "rectify_masks3" in printed or not HAS_MULTI_OPTIMIZER
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "attention.png",
        "served",
        "student.keras",
    ]
