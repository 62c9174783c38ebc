"""Runs every benchmark and writes what they print, and results/*.md, to RESULTS.md.

python benchmarks/run_all.py
python benchmarks/run_all.py --only-results         # keeps the benchmarks' part as it is
python benchmarks/run_all.py --only scale_space     # runs this one and keeps the others' parts
"""

import argparse
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from keras_attention.files import write_whole

HERE = Path(__file__).parent
HELPERS = {"regions.py", "roofline.py", "run_all.py"}
EXPERIMENTS = "# Experiments\n"


def main() -> None:
    """Writes RESULTS.md when all benchmarks have run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only-results", action="store_true", help="run no benchmark")
    parser.add_argument("--only", nargs="+", choices=sorted(_names()), help="run these")
    options = parser.parse_args()
    target = HERE / "RESULTS.md"
    if options.only or options.only_results:
        before, _, _ = target.read_text(encoding="utf-8").partition(EXPERIMENTS)
        before = _with_new(before, options.only or [])
    else:
        before = _benchmarks()
    parts = [before.rstrip() + "\n"]
    files = sorted((HERE / "results").glob("*.md"))
    if files:
        parts.append(f"{EXPERIMENTS}\nEach with the command that wrote it.\n")
        parts += [_experiment(path) for path in files]
    write_whole(target, lambda path: path.write_text("\n".join(parts), encoding="utf-8"))


def _benchmarks() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "numpy"))
    parts = [
        "# Results\n\nWritten by `make bench`. Machines differ: compare ratios, not seconds.\n",
        f"Python {platform.python_version()}, {versions}, {_processor()}.\n",
    ]
    parts += [_section(HERE / f"{name}.py") for name in _names()]
    return "\n".join(parts)


def _names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if path.name not in HELPERS)


def _with_new(before: str, names: list[str]) -> str:
    """The benchmarks' part with some of its sections run again, in order."""
    head, *old = re.split(r"^(?=## )", before, flags=re.MULTILINE)
    sections = {section.split()[1]: section for section in old}
    sections.update({name: _section(HERE / f"{name}.py") for name in names})
    return head + "\n".join(sections[name].rstrip() + "\n" for name in sorted(sections))


def _section(path: Path) -> str:
    print(f"{path.name} ...", flush=True)
    result = subprocess.run(
        [sys.executable, path], stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent
    )
    print(result.stdout, flush=True)
    about = path.read_text(encoding="utf-8").split('"""')[1].strip()
    return f"## {path.stem}\n\n`python benchmarks/{path.name}`: {about}\n\n{result.stdout}"


def _experiment(path: Path) -> str:
    """The file as a section: its headings one level deeper."""
    return re.sub(r"^#", "##", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else "unknown processor"


if __name__ == "__main__":
    main()
