"""Examples of the documentation run, its guide gives a working layer, and no name is missing."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.documents import ROOT, python_blocks, run_block, titled_blocks
from tests.test_docs_hooks import hook

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if python_blocks(path))
PACKAGES = sorted(path.stem for path in (DOCS / "api").glob("*.md"))
MECHANISM = DOCS / "guides" / "add_a_mechanism.md"
# Programs for another backend, which need a process of their own.
SCRIPTS = [
    pytest.param(code, id=title)
    for page in sorted(DOCS.rglob("*.md"))
    for language, title, code in titled_blocks(page)
    if language == "python" and page != MECHANISM
]
COPIED = ("keras_attention", "tests", "docs", "pyproject.toml", "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page, tmp_path, monkeypatch, reloads_here):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for code in python_blocks(page):
        run_block(code, page, namespace)


@pytest.mark.parametrize("code", SCRIPTS)
def test_scripts_run(code, tmp_path):
    pytest.importorskip("jax")
    script = tmp_path / "script.py"
    script.write_text(code)
    run(tmp_path, str(script))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_an_entry(package):
    page = (DOCS / "api" / f"{package}.md").read_text(encoding="utf-8")
    page = hook("api_pages").complete_page(page, package)
    entries = re.findall(rf"^::: (keras_attention\.{package}\.[\w.]+)$", page, re.MULTILINE)
    names = [entry.rpartition(".")[2] for entry in entries]
    assert sorted(names) == sorted(importlib.import_module(f"keras_attention.{package}").__all__)
    # If a module and its function have the same name, the page would show the module.
    modules = [entry for entry in entries if (ROOT / f"{entry.replace('.', '/')}.py").exists()]
    assert not modules


def test_every_package_has_a_page():
    package = importlib.import_module("keras_attention")
    assert sorted(package.__all__) == PACKAGES


def test_guide_gives_a_layer_that_passes(tmp_path):
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.png")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    changed = []
    for language, title, text in titled_blocks(MECHANISM):
        path = tmp_path / title
        if language == "python":
            path.write_text(text)
        elif language == "diff":
            path.write_text(with_added_lines(path.read_text(encoding="utf-8"), text))
        changed.append(title)
    layer, registration, cases, own_tests = changed
    assert layer == "keras_attention/layers/channel_gate.py"
    assert registration == "keras_attention/layers/__init__.py"
    assert cases == "tests/layer_cases.py"
    table, checks = [shlex.split(command) for command in bash_commands(MECHANISM)]
    assert table == ["python", "-m", "tests.documents"]
    run(tmp_path, *table[1:])
    assert checks[:3] == ["python", "-m", "pytest"]
    options = ["-v", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    printed = run(tmp_path, *checks[1:], *options)
    assert " SKIPPED" not in printed
    files = re.findall(r"^(\S+?)::.* PASSED", printed, re.MULTILINE)
    passed = {file: files.count(file) for file in files}
    # 10 checks of all layers, two of them twice; every layer has a row; 4 fuzz tests with few
    # and with many examples; 1 example.
    assert passed["tests/layers/test_all_layers.py"] == 13
    assert passed["tests/fuzz/test_layers.py"] == 8
    assert passed[layer] == 1
    assert passed[own_tests] == 4
    assert passed["tests/test_docs.py"] == len(PACKAGES)
    assert passed["tests/test_readme.py"] >= 1


def bash_commands(page):
    """The commands of a page; a backslash continues a command on the next line."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def with_added_lines(text, lines):
    """Inserts the lines that begin with +, after the line before them, or before the first line."""
    result, position, first = text.splitlines(), 0, []
    for line in lines.splitlines():
        if not line.startswith("+"):
            found = result.index(line[1:], position)
            result[found:found] = first
            position, first = found + len(first) + 1, []
        elif position:
            result.insert(position, line[1:])
            position += 1
        else:
            first.append(line[1:])
    return "\n".join(result) + "\n"


def run(folder, *arguments):
    """Runs Python in a folder, whose modules are imported first, and returns its output."""
    path = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    return result.stdout
