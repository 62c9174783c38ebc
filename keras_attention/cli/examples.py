"""What the help of each command shows; the tests parse every line."""

NAME = "keras-attention"

EXAMPLES = {
    "models": (
        "keras-attention models",
        "keras-attention models DN10 TDN10 --json",
    ),
    "train": (
        "keras-attention train TDN10 --data top_left_digits --size 28 --train-size 300 "
        "--epochs 40 --batch-size 50 --set scale_l2=2e-3 --output runs/tdn10",
        "keras-attention train TDN10 --data top_left_digits --animate",
        "keras-attention train LSTM4 --data digit_sequences --set attention=san "
        "--optimizer adam --schedule cosine",
        "keras-attention train SVHNCoarse --data number_photographs --set width=0.25 "
        "--output runs/coarse",
        "keras-attention train --config runs/tdn10 --seed 1 --output runs/tdn10-1",
        "keras-attention train TKN6 --devices 2 --backend jax",
        "keras-attention train --resume --output runs/tdn10",
    ),
    "evaluate": (
        "keras-attention evaluate runs/tdn10",
        "keras-attention evaluate model.keras --data digits --size 28 --json",
    ),
    "plot": (
        "keras-attention plot runs/tdn10",
        "keras-attention plot runs/tdn10 --images 3 14 15 --output attention.pdf",
        "keras-attention plot runs/student --teacher runs/teacher --layer group1 group2 group3",
    ),
    "export": (
        "keras-attention export runs/tdn10 --compact",
        "keras-attention export runs/tdn10 --format onnx --attention --output tdn10.onnx",
        "keras-attention export runs/tdn10 --format litert --quantize int8",
    ),
    "bench": (
        "keras-attention bench TDN10 DN10 --batch-size 64",
        "keras-attention bench runs/tdn10 DN10 --batch-size 1 64 --compact --json",
    ),
    "doctor": (
        "keras-attention doctor",
        "keras-attention doctor --json",
    ),
}


def epilog(command: str, more: str = "") -> str:
    """The end of a command's help, with lines that a terminal of 80 columns holds.

    Example:
    >>> print(epilog("doctor"))
    examples:
      keras-attention doctor
      keras-attention doctor --json
    """
    lines = [f"  {part}" for example in EXAMPLES[command] for part in _folded(example)]
    return "\n".join([*([more, ""] if more else []), "examples:", *lines])


def _folded(example: str, width: int = 74) -> list[str]:
    """The lines of an example that a shell reads as one."""
    lines = [""]
    for option in example.replace(" --", "\n--").splitlines():
        if lines[-1] and len(lines[-1]) + len(option) > width:
            lines[-1] += " \\"
            lines.append(f"    {option}")
        else:
            lines[-1] += f" {option}" if lines[-1] else option
    return lines
