"""Killed trainings, also while files are written, resume to identical results.

`pytest -m slow tests/cli/test_killed_training.py -s` prints what was interrupted.
"""

import random
from collections import Counter

import pytest

from tests.cli.fork_server import ForkServer, file_contents, random_death, train_until_done

SMALL = ("--data", "digits", "--size", 4, "--train-size", 60, "--batch-size", 20, "--epochs", 3)
STEPS = ("--checkpoint-steps", 2)
# With dropout, optimizer state and a schedule; and with a figure of each epoch.
PLAIN = ("CNN6", *SMALL, "--optimizer", "adam", "--schedule", "cosine", *STEPS)
ANIMATED = ("TKN6", *SMALL, "--learning-rate", 0.01, *STEPS, "--animate")
KINDS = ("byte", "seconds", "call")


def check_killed_training(folder, words, kinds, generator, backend="tensorflow"):
    """Compares with an uninterrupted run; returns what each kill interrupted."""
    with ForkServer(folder / "log", backend) as server:
        code, _, seconds = server.call("train", "--output", folder / "whole", *words)
        assert code == 0, server.log.read_text()[-3000:]
        complete = file_contents(folder / "whole")
        size = max(path.stat().st_size for path in (folder / "whole").rglob("*.npz"))
        interrupted = []
        for number in range(len(kinds)):
            if len(interrupted) >= len(kinds):
                break
            killed = folder / f"killed{number}"
            deaths = [
                random_death(generator, kind, seconds, size) for kind in kinds[len(interrupted) :]
            ]
            interrupted += train_until_done(server, killed, words, deaths)
            found = file_contents(killed)
            assert sorted(found) == sorted(complete)
            different = [name for name, data in complete.items() if found[name] != data]
            assert not different, different
    assert len(interrupted) == len(kinds)
    return Counter(interrupted)


@pytest.mark.slow
def test_survives_kills(tmp_path):
    check_killed_training(tmp_path, PLAIN, KINDS, random.Random(0))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("words", "kills", "backend"),
    [(PLAIN, 30, "tensorflow"), (ANIMATED, 14, "tensorflow"), (PLAIN, 6, "jax")],
    ids=["plain", "animated", "jax"],
)
def test_survives_fifty_kills(tmp_path, words, kills, backend):
    generator = random.Random(kills)
    kinds = [generator.choice(KINDS) for _ in range(kills)]
    interrupted = check_killed_training(tmp_path, words, kinds, generator, backend)
    print(*(f"{count:3d} {activity}" for activity, count in interrupted.most_common()), sep="\n")
