"""Draws one traffic sign: the shape and colors of its category, and a handwritten digit."""

import numpy as np
from PIL import Image, ImageDraw

# Drawn this many times larger and then shrunk, for smooth edges.
FINER = 4
MOST_TURN = 8  # degrees
RED, BLUE, WHITE, BLACK = (190, 20, 30), (20, 70, 160), (240, 240, 240), (20, 20, 20)
# Of a category: corners (0 for a disc), color, color of the inner part or None, of the digit.
LOOKS = {
    "prohibitory": (0, RED, WHITE, BLACK),
    "mandatory": (0, BLUE, None, WHITE),
    "danger": (3, RED, WHITE, BLACK),
    "other": (8, RED, None, WHITE),
}


def draw_sign(
    category: str, digit: np.ndarray, side: int, random: np.random.Generator
) -> Image.Image:
    """Draws a sign a little turned and in some light.

    Args:
        category: One of `LOOKS`.
        digit: What it says, `(8, 8)` in `[0, 1]`.
        side: Pixels across.
        random: Turns it and lights it.

    Returns:
        A picture with transparency, cut to the sign.
    """
    corners, color, inner, ink = LOOKS[category]
    whole = side * FINER
    sign = Image.new("RGBA", (whole, whole))
    draw = ImageDraw.Draw(sign)
    fill(draw, corners, whole, 0.48, color)
    if inner is not None:
        fill(draw, corners, whole, 0.48 * 0.72, inner)
    write(sign, digit, ink, low=corners == 3)
    sign = sign.rotate(random.uniform(-MOST_TURN, MOST_TURN), Image.Resampling.BICUBIC)
    sign = sign.resize((side, side), Image.Resampling.BOX)
    return lit(sign.crop(solid(sign)), random.uniform(0.55, 1.1))


def fill(draw: ImageDraw.ImageDraw, corners: int, whole: int, radius: float, color: tuple) -> None:
    """Fills a disc or a regular polygon around the middle; a triangle stands on a side."""
    middle, reach = whole / 2, whole * radius
    if not corners:
        draw.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), fill=color)
        return
    turn = 0 if corners == 3 else 180 / corners
    lower = reach / 6 if corners == 3 else 0
    center = (middle, middle + lower, reach)
    draw.regular_polygon(center, corners, rotation=turn, fill=color)


def write(sign: Image.Image, digit: np.ndarray, ink: tuple, low: bool) -> None:
    """Writes a digit into the middle, lower and smaller where the sign is a triangle."""
    side = int(sign.width * (0.3 if low else 0.42))
    mask = Image.fromarray(np.uint8(255 * digit)).resize((side, side), Image.Resampling.BICUBIC)
    left, top = (sign.width - side) // 2, (sign.height - side) // 2
    sign.paste(Image.new("RGBA", mask.size, ink), (left, top + low * side // 3), mask)


def solid(sign: Image.Image) -> tuple[int, int, int, int]:
    """The box of what is not rather transparent."""
    return sign.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox()


def lit(sign: Image.Image, light: float) -> Image.Image:
    """Multiplies the colors; the transparency stays."""
    alpha = sign.getchannel("A")
    brighter = sign.convert("RGB").point(lambda value: min(255, int(value * light)))
    brighter.putalpha(alpha)
    return brighter
