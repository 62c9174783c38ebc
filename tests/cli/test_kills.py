"""Trainings that are killed, at random and while they write, end as if they had not been.

Where the kills came is printed: `pytest -m slow tests/cli/test_kills.py -s`.
"""

import random
from collections import Counter

import pytest

from tests.cli.killing import Server, contents, death, train_until_done

SMALL = ("--data", "digits", "--size", 8, "--train-size", 60, "--batch-size", 20, "--epochs", 3)
STEPS = ("--checkpoint-steps", 2)
# With dropout, moments and a schedule; and with a picture of each epoch.
PLAIN = ("CNN6", *SMALL, "--optimizer", "adam", "--schedule", "cosine", *STEPS)
ANIMATED = ("TKN6", *SMALL, "--learning-rate", 0.01, *STEPS, "--animate")
KINDS = ("byte", "seconds", "call")


def survives(folder, words, kinds, draw, backend="tensorflow"):
    """Compares with one uninterrupted run; returns what was done when each kill came."""
    with Server(folder / "log", backend) as server:
        code, _, seconds = server.call("train", "--output", folder / "whole", *words)
        assert code == 0, server.log.read_text()[-3000:]
        whole = contents(folder / "whole")
        size = max(path.stat().st_size for path in (folder / "whole").rglob("*.npz"))
        hit = []
        for number in range(len(kinds)):
            if len(hit) >= len(kinds):
                break
            killed = folder / f"killed{number}"
            deaths = [death(draw, kind, seconds, size) for kind in kinds[len(hit) :]]
            hit += train_until_done(server, killed, words, deaths)
            found = contents(killed)
            assert sorted(found) == sorted(whole)
            different = [name for name, data in whole.items() if found[name] != data]
            assert not different, different
    assert len(hit) == len(kinds)
    return Counter(hit)


def test_survives_kills(tmp_path):
    kinds = ("byte", "call", "seconds", "byte", "call")
    survives(tmp_path, PLAIN, kinds, random.Random(0))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("words", "kills", "backend"),
    [(PLAIN, 30, "tensorflow"), (ANIMATED, 14, "tensorflow"), (PLAIN, 6, "jax")],
    ids=["plain", "animated", "jax"],
)
def test_survives_fifty_kills(tmp_path, words, kills, backend):
    draw = random.Random(kills)
    kinds = [draw.choice(KINDS) for _ in range(kills)]
    hit = survives(tmp_path, words, kinds, draw, backend)
    print(*(f"{count:3d} {doing}" for doing, count in hit.most_common()), sep="\n")
