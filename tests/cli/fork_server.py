"""Trainings by the command line in forked processes that are killed.

`python -m tests.cli.fork_server` imports everything once, starts no threads, and forks a process
for every line on its standard input.
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

# Calls that write files, before which a process can be killed.
CALLS = ((tempfile, "mkstemp"), (os, "fsync"), (Path, "chmod"), (Path, "replace"))
# A process with threads must not fork, and NumPy and TensorFlow start threads by default.
SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}
ROOT = Path(__file__).parents[2]


class ForkServer:
    """The process that forks."""

    def __init__(self, log, backend="tensorflow", before=()):
        self.log = log
        environment = {**os.environ, **SINGLE_THREADED}
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.cli.fork_server"],
            cwd=ROOT,
            env={**environment, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
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
        """Runs a command; returns its exit code or minus a signal, its last activity and time."""
        order = {"words": [str(word) for word in words], "log": str(self.log), **death}
        self.process.stdin.write(f"{json.dumps(order)}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def train_until_done(server, folder, words, deaths):
    """Trains, and resumes after each kill; returns the activities that were interrupted.

    `deaths` specify how successive processes are killed. A process may finish before that.
    """
    interrupted = []
    deaths = iter(deaths)
    while True:
        resume = (folder / "config.json").is_file()
        options = words[words.index("--checkpoint-steps") :] if resume else words
        command = ["train", *(["--resume"] if resume else []), "--output", folder]
        code, activity, _ = server.call(*command, *options, **next(deaths, {}))
        if code == 0:
            return interrupted
        assert code in (-signal.SIGKILL, -signal.SIGXFSZ), server.log.read_text()[-3000:]
        interrupted.append(activity)


def random_death(generator, kind, seconds, size):
    """Draws the time, the byte of a file, or the call before which a process is killed."""
    return {
        "seconds": {"seconds": generator.uniform(0, seconds)},
        "byte": {"file": generator.randint(1, 6), "byte": generator.randrange(size)},
        "call": {"call": generator.randint(1, 25)},
    }[kind]


def file_contents(folder):
    """The contents of every file by name; of archives, those of their members.

    Ignores the time in the metadata of models, and the memory addresses by which Keras identifies
    shared objects.
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


class _Activity:
    """Description of a process's activity, in memory shared with its parent."""

    def __init__(self):
        self.page = mmap.mmap(-1, 200)

    def set(self, text):
        self.page[:] = text.encode().ljust(200)[:200]

    def get(self):
        return self.page[:].decode().strip()


def _report_training(activity):
    """Updates the activity at each stage of training."""
    from keras_attention.training.training_state import CheckpointCallback

    def reporting(name, original):
        def wrapper(*arguments, **options):
            activity.set(name.removeprefix("on_").replace("_", " "))
            return original(*arguments, **options)

        return wrapper

    for name in ("on_epoch_begin", "on_train_batch_begin", "on_test_begin", "on_epoch_end"):
        setattr(CheckpointCallback, name, reporting(name, getattr(CheckpointCallback, name)))


def _schedule_death(activity, call=None, file=None, byte=None):
    """Kills this process before a call, or at a byte of a file that it writes."""
    counts = {"calls": 0, "files": 0}

    def replace(owner, name):
        original = getattr(owner, name)

        def wrapper(*arguments, **options):
            counts["calls"] += 1
            if name == "mkstemp":
                counts["files"] += 1
                activity.set(f"write {options['prefix']}")
                if counts["files"] == file:
                    # The system kills the process in the call that exceeds this file size.
                    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                    resource.setrlimit(resource.RLIMIT_FSIZE, (byte, byte))
            if counts["calls"] == call:
                activity.set(f"{activity.get()}, before {name}")
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **options)
            if name == "replace":
                activity.set("after a write")
            return result

        setattr(owner, name, wrapper)

    for owner, name in CALLS:
        replace(owner, name)


def _train(order, activity):
    with open(order["log"], "a") as log:  # noqa: PTH123
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    from keras_attention.cli import data, main
    from tests.cli.small_runs import validate_on_few

    validate_on_few(setattr)
    data.PLOT_IMAGES = 1
    activity.set("start")
    _report_training(activity)
    _schedule_death(activity, **{key: order.get(key) for key in ("call", "file", "byte")})
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
    activity, start = _Activity(), time.monotonic()
    process = os.fork()
    if not process:
        _train(order, activity)
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - start > order.get("seconds", 300):
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(status), activity.get(), time.monotonic() - start


def serve():
    sys.argv[0] = "keras-attention"
    import tests.cli.small_runs  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
