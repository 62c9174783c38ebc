"""The documentation's examples run, its guide leads to a layer that passes, no name is missing."""

import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.documents import ROOT, python_blocks, run_block, titled_blocks

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if python_blocks(path))
ROOMS = sorted(path.stem for path in (DOCS / "api").glob("*.md"))
MECHANISM = DOCS / "guides" / "add_a_mechanism.md"
# Programs of another backend, which need a process of their own.
SCRIPTS = [
    pytest.param(code, id=title)
    for page in sorted(DOCS.rglob("*.md"))
    for language, title, code in titled_blocks(page)
    if language == "python" and page != MECHANISM
]
COPIED = ("keras_attention", "tests", "docs", "pyproject.toml", "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run_as_they_stand(page, tmp_path, monkeypatch, reloads_here):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for code in python_blocks(page):
        run_block(code, page, namespace)


@pytest.mark.parametrize("code", SCRIPTS)
def test_scripts_run_in_a_process_of_their_own(code, tmp_path):
    pytest.importorskip("jax")
    script = tmp_path / "script.py"
    script.write_text(code)
    run(tmp_path, str(script))


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_an_entry(room):
    page = (DOCS / "api" / f"{room}.md").read_text(encoding="utf-8")
    entries = re.findall(rf"^::: (keras_attention\.{room}\.[\w.]+)$", page, re.MULTILINE)
    named = [entry.rpartition(".")[2] for entry in entries]
    assert sorted(named) == sorted(importlib.import_module(f"keras_attention.{room}").__all__)
    # Of a file and a function of one name the page would show the file.
    files = [entry for entry in entries if (ROOT / f"{entry.replace('.', '/')}.py").exists()]
    assert not files


def test_every_room_has_a_page():
    package = importlib.import_module("keras_attention")
    assert sorted(package.__all__) == ROOMS


def test_the_guide_to_a_mechanism_leads_to_one_that_passes(tmp_path):
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.png")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    files = []
    for language, title, text in titled_blocks(MECHANISM):
        path = tmp_path / title
        if language == "python":
            path.write_text(text)
            files.append(title)
        elif language == "diff":
            path.write_text(with_lines_added(path.read_text(encoding="utf-8"), text))
    assert len(files) == 5
    chosen = "ChannelGate or channel_gate or row or public"
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", chosen]
    tests = ["tests/layers/test_all_layers.py", "tests/test_docs.py", *files]
    printed = run(tmp_path, "-m", "pytest", *options, *tests)
    # 8 checks of all layers, one of them twice, 4 of its own, 2 examples, and no name is missing.
    assert int(re.search(r"(\d+) passed", printed)[1]) >= 9 + 4 + 2 + len(ROOMS)
    assert "skipped" not in printed


def with_lines_added(text, lines):
    """Adds the lines that begin with +, behind the line before them there, or before the first."""
    here, place, first = text.splitlines(), 0, []
    for line in lines.splitlines():
        if not line.startswith("+"):
            found = here.index(line[1:], place)
            here[found:found] = first
            place, first = found + len(first) + 1, []
        elif place:
            here.insert(place, line[1:])
            place += 1
        else:
            first.append(line[1:])
    return "\n".join(here) + "\n"


def run(folder, *arguments):
    """Runs Python in a folder, whose modules come first, and returns what it prints."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    return result.stdout
