"""Runs every benchmark and writes what they print to RESULTS.md."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = {"regions.py", "roofline.py", "run_all.py", "timing.py"}


def main() -> None:
    """Writes RESULTS.md when all benchmarks have run."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "numpy"))
    parts = [
        "# Results\n\nWritten by `make bench`. Machines differ: compare ratios, not seconds.\n",
        f"Python {platform.python_version()}, {versions}, {_processor()}.\n",
    ]
    for path in sorted(HERE.glob("*.py")):
        if path.name not in HELPERS:
            parts.append(_section(path))
    temporary = HERE / ".RESULTS.md"
    temporary.write_text("\n".join(parts), encoding="utf-8")
    temporary.replace(HERE / "RESULTS.md")


def _section(path: Path) -> str:
    print(f"{path.name} ...", flush=True)
    result = subprocess.run(
        [sys.executable, path], stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent
    )
    print(result.stdout, flush=True)
    about = path.read_text(encoding="utf-8").split('"""')[1].strip()
    return f"## {path.stem}\n\n`python benchmarks/{path.name}`: {about}\n\n{result.stdout}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else "unknown processor"


if __name__ == "__main__":
    main()
