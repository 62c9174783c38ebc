"""The README's examples do what they say."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, str(README), "exec"), {})
    assert "(32, 2, 2)" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attention.png", "served"]
