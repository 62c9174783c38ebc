"""Trainings by the command line in processes that are killed, without an import for each.

`python -m tests.cli.killing` imports everything, starts no thread, and forks a process for every
line on its standard input.
"""

import json
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

# Calls around a write, at which a process may end.
CALLS = ((tempfile, "mkstemp"), (os, "fsync"), (Path, "chmod"), (Path, "replace"))
# NumPy starts threads of its own otherwise, and what has threads must not fork.
ALONE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
ROOT = Path(__file__).parents[2]


class Server:
    """The process that forks."""

    def __init__(self, log, backend="tensorflow", before=()):
        self.log = log
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.cli.killing"],
            cwd=ROOT,
            env={**os.environ, **ALONE, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def call(self, *words, **death):
        """Runs one command; returns its exit code, or minus a signal, and what it did last."""
        order = {"words": [str(word) for word in words], "log": str(self.log), **death}
        self.process.stdin.write(f"{json.dumps(order)}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def train_until_done(server, folder, words, kills):
    """Trains, and goes on after each kill; returns what the process did at each.

    `kills` are how the process is to end, one each time; where it was done before, it had luck.
    """
    hit = []
    kills = iter(kills)
    while True:
        resume = (folder / "config.json").is_file()
        rest = words[words.index("--checkpoint-steps") :] if resume else words
        start = ["train", *(["--resume"] if resume else []), "--output", folder]
        code, doing, _ = server.call(*start, *rest, **next(kills, {}))
        if code == 0:
            return hit
        assert code in (-signal.SIGKILL, -signal.SIGXFSZ), server.log.read_text()[-3000:]
        hit.append(doing)


def death(draw, kind, seconds, size):
    """How a process is to end: when, or at which byte of which file, or before which call."""
    return {
        "seconds": {"seconds": draw.uniform(0, seconds)},
        "byte": {"file": draw.randint(1, 6), "byte": draw.randrange(size)},
        "call": {"call": draw.randint(1, 25)},
    }[kind]


def contents(folder):
    """The bytes of every file by name; of archives those of their members.

    Of models all but the time, in their metadata, and addresses in memory, by which Keras says that
    layers share something.
    """
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix in (".keras", ".npz"):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    data = archive.read(member)
                    found[f"{name}/{member}"] = re.sub(rb'"shared_object_id": \d+', b"", data)
            found.pop(f"{name}/metadata.json", None)
        else:
            found[name] = path.read_bytes()
    return found


class _Doing:
    """What a process does, where its parent can read it."""

    def __init__(self):
        self.page = mmap.mmap(-1, 200)

    def set(self, what):
        self.page[:] = what.encode().ljust(200)[:200]

    def get(self):
        return self.page[:].decode().strip()


def _follow(doing):
    """Says which part of training runs."""
    from keras_attention.training.training_state import CheckpointCallback

    def said(name, plain):
        def wrapper(*arguments, **options):
            doing.set(name.removeprefix("on_").replace("_", " "))
            return plain(*arguments, **options)

        return wrapper

    for name in ("on_epoch_begin", "on_train_batch_begin", "on_test_begin", "on_epoch_end"):
        setattr(CheckpointCallback, name, said(name, getattr(CheckpointCallback, name)))


def _die_at(doing, call=None, file=None, byte=None):
    """Lets the process end before a call, or in a file while it is written."""
    counts = {"calls": 0, "files": 0}

    def counted(owner, name):
        plain = getattr(owner, name)

        def wrapper(*arguments, **options):
            counts["calls"] += 1
            if name == "mkstemp":
                counts["files"] += 1
                doing.set(f"write {options['prefix']}")
                if counts["files"] == file:
                    # The system ends it in the very call that would exceed this.
                    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                    resource.setrlimit(resource.RLIMIT_FSIZE, (byte, byte))
            if counts["calls"] == call:
                doing.set(f"{doing.get()}, before {name}")
                os.kill(os.getpid(), signal.SIGKILL)
            made = plain(*arguments, **options)
            if name == "replace":
                doing.set("after a write")
            return made

        setattr(owner, name, wrapper)

    for owner, name in CALLS:
        counted(owner, name)


def _train(order, doing):
    with open(order["log"], "a") as log:  # noqa: PTH123
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    from keras_attention.cli import data, main
    from tests.cli.small import watch_few

    watch_few(setattr)
    data.SHOWN = 1
    doing.set("start")
    _follow(doing)
    _die_at(doing, **{key: order.get(key) for key in ("call", "file", "byte")})
    try:
        code = main(order["words"])
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fork(order):
    doing, start = _Doing(), time.monotonic()
    process = os.fork()
    if not process:
        _train(order, doing)
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - start > order.get("seconds", 300):
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(status), doing.get(), time.monotonic() - start


def serve():
    sys.argv[0] = "keras-attention"
    import tests.cli.small  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
